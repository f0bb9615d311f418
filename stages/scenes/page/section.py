"""The section of scenes, and the answers to its script on a live page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from engine import PageContext, Section, UsageError
from stages.scenes.page.catalogue import SceneSteps, ShownVideo, shown_videos
from stages.scenes.page.searching import PageSearch
from stages.scenes.page.shown import scene_shown, summary_shown, video_shown

TITLE = "Scenes"

KEPT_SECONDS = 5.0
"""How long a list of the videos is good for, at least."""

REST = 20
"""It is good for REST times as long as making it took: the run has the processor."""

MOST = 200
"""Videos, or scenes, in one answer."""


@dataclass(frozen=True)
class ScenePage:
    """Shows the scenes of a work folder, and answers what the live page asks of them.

    `database` is the file that is searched, None where the run writes none; `own_server` is the
    server that the run itself has asked for vectors.
    """

    steps: SceneSteps
    database: Callable[[PageContext], Path | None]
    own_server: Callable[[PageContext], str | None]
    _search: PageSearch = field(default_factory=PageSearch, init=False)
    _lock: Any = field(default_factory=Lock, init=False)
    _lists: dict[Path, tuple[float, dict[str, ShownVideo]]] = field(
        default_factory=dict, init=False
    )

    def sections(self, context: PageContext) -> Iterator[Section]:
        """One section. In a file it holds the scenes; on a live page its script asks for them."""
        from markupsafe import Markup

        from stages.scenes.page.embedded import elements_of

        body = Markup('<div class="scenes-page"{}></div>\n').format(
            Markup(" data-live") if context.live else ""
        )
        if not context.live:
            body += elements_of(shown_videos(context, self.steps))
        yield Section(TITLE, body, _part("scenes.css"), _part("scenes.js"), first=True)

    def answer(self, context: PageContext, question: str, values: Mapping[str, str]) -> Any:
        """Answers the script. Raises UsageError for a question that makes no sense."""
        if question == "videos":
            return self._listed(context, _number(values, "from"), _number(values, "count"))
        if question == "search":
            return self._found(context, values)
        video = self._videos(context).get(values.get("video", ""))
        if video is None:
            return None
        match question:
            case "scenes":
                first, count = _number(values, "from"), _number(values, "count")
                scenes = [scene_shown(one) for one in video.scenes(first, count)]
                return {"scenes": scenes, **(summary_shown(video) if not first else {})}
            case "picture":
                return video.picture(values.get("file", ""))
            case "video":
                return video.file()
        return None

    def _listed(self, context: PageContext, first: int, count: int) -> dict[str, Any]:
        videos = list(self._videos(context).values())
        return {
            "videos": [
                {**video_shown(video), "plays": video.file() is not None}
                for video in videos[first : first + count]
            ],
            "total": len(videos),
            "scenes": sum(video.count for video in videos),
        }

    def _found(self, context: PageContext, values: Mapping[str, str]) -> dict[str, Any]:
        database = self.database(context)
        if database is None:
            raise UsageError('this run writes no database to search: "sqlite" is none of its sinks')
        videos = self._videos(context)
        words, place = values.get("words", ""), values.get("in", "")
        answer = self._search.find(database, words, place, videos, self.own_server(context))
        for hit in answer["hits"]:
            video = videos[hit["video"]]
            hit["title"], hit["moment"] = video.title, video.moment
            hit["plays"] = video.file() is not None
        return answer

    def _videos(self, context: PageContext) -> Mapping[str, ShownVideo]:
        """The videos by their ids, in the order of their titles."""
        with self._lock:
            until, videos = self._lists.get(context.workdir, (0.0, {}))
            began = monotonic()
            if not videos or began > until:
                found = sorted(
                    shown_videos(context, self.steps),
                    key=lambda video: (video.title.casefold(), video.item.id),
                )
                videos = {video.item.id: video for video in found}
                now = monotonic()
                until = now + max(KEPT_SECONDS, REST * (now - began))
                self._lists[context.workdir] = (until, videos)
            return videos


def _number(values: Mapping[str, str], name: str) -> int:
    """A number in a question: 0 for `from`, and MOST for `count`, where there is none."""
    text = values.get(name, "0" if name == "from" else str(MOST))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UsageError(f"{name}={text[:40]}: give a number")
    return int(text) if name == "from" else min(int(text), MOST)


def _part(name: str) -> str:
    return files("stages.scenes.page").joinpath("parts", name).read_text(encoding="utf-8")
