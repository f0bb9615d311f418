"""The scenes in the page's file: their words, and small pictures, within bounds.

Each video is a JSON element of its own, read when it is needed. The words go first: where not all
of them fit, the last videos are named without their scenes; of the pictures every n-th stays.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stages.media.pictures.thumbnail import thumbnail
from stages.scenes.page.catalogue import ShownVideo
from stages.scenes.page.shown import scene_shown, summary_shown, video_shown

MOST_WORDS = 20_000_000
"""Bytes of all scenes' words, at most."""

MOST_PICTURES = 2_000
MOST_PICTURE_BYTES = 20_000_000
"""Of all pictures, as they stand in the file, at most."""

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""Of a video whose files are damaged, or being replaced: it must not hide the others."""

SIZE = 256
"""Pixels of a picture's longer side."""


def embedded(videos: Sequence[ShownVideo]) -> Markup:
    """The elements of a page that is a file."""
    room, pictures = MOST_WORDS, Pictures(sum(video.count for video in videos))
    listed: list[dict[str, Any]] = []
    elements: list[Markup] = []
    for place, video in enumerate(videos):
        try:
            scenes = [scene_shown(record) for record in video.scenes()]
            text = json_element(f"scenes-of-{place}", {"scenes": scenes, **summary_shown(video)})
        except UNREADABLE:
            listed.append({**video_shown(video), "absent": "unreadable"})
            continue
        room -= len(text.encode("utf-8", "surrogatepass"))
        if room < 0:
            listed.append({**video_shown(video), "absent": "no room"})
            continue
        listed.append(video_shown(video))
        shown = [pictures.data(video.folder, scene.get("picture")) for scene in scenes]
        elements += [text, json_element(f"pictures-of-{place}", shown)]
    counts = {"shown": pictures.taken, "scenes": pictures.scenes}
    return Markup("").join(
        [json_element("scenes-listed", {"videos": listed, "pictures": counts}), *elements]
    )


class Pictures:
    """Small copies of the scenes' thumbnails, as many as there is room for."""

    def __init__(self, scenes: int) -> None:
        self.scenes, self.taken = scenes, 0
        self._every = -(-scenes // MOST_PICTURES) or 1
        self._offered = 0
        self._room = MOST_PICTURE_BYTES

    def data(self, folder: Path, name: str | None) -> str | None:
        """The picture as a data: address; None where there is none, or no room for it."""
        self._offered += 1
        if name is None or (self._offered - 1) % self._every or self._room <= 0:
            return None
        data = thumbnail(folder / name, SIZE)
        if data is None or len(data) > self._room:
            return None
        self._room -= len(data)
        self.taken += 1
        return data


def json_element(name: str, value: Any) -> Markup:
    """A script element that holds JSON, with an id. No text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>\n')


def elements_of(videos: Iterator[ShownVideo]) -> Markup:
    """The elements, videos in the order of their titles."""
    return embedded(sorted(videos, key=lambda video: (video.title.casefold(), video.item.id)))
