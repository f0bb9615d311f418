"""Chapters: for each video VIDEO.ffmetadata, which FFmpeg reads, and VIDEO.txt, a list as YouTube
takes it in a description.

Chapters are those of the video's summary where it has some, or else its scenes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stages.scenes.exports.reader import ScenesFolder, ScenesOfVideo
from stages.sinks.texts import passages

SHORTEST = 10.0
"""Seconds of a chapter that YouTube takes."""

FEWEST = 3
"""Chapters that YouTube takes."""

LONGEST = 100
"""Characters of a title, at most."""


class Chapter(NamedTuple):
    start: float
    end: float
    title: str


def write(scenes: ScenesFolder, folder: Path) -> None:
    """Write the chapters of every video into `folder`; a list for YouTube only where that would
    take it."""
    for video in scenes.videos():
        chapters = list(chapters_of(video))
        title = video.document.get("title")
        (folder / f"{video.video}.ffmetadata").write_text(_ffmetadata(title, chapters), "utf-8")
        listed = list(_long_enough(chapters))
        if len(listed) >= FEWEST:
            text = "".join(f"{_clock(one.start)} {one.title}\n" for one in listed)
            (folder / f"{video.video}.txt").write_text(text, encoding="utf-8")
        scenes.written += 1


def chapters_of(video: ScenesOfVideo) -> Iterator[Chapter]:
    """The chapters, in order."""
    for number, one in enumerate(_of_summary(video.document) or video.scenes, 1):
        told = next(passages([one.get(name) for name in _TITLES]), f"Scene {number}")
        title = re.split(r"(?<=[.!?])\s", told)[0].rstrip(".")
        if len(title) > LONGEST:
            title = f"{title[: LONGEST - 1].rsplit(' ', 1)[0]}…"
        yield Chapter(float(one["start"]), float(one["end"]), title)


_TITLES = ("title", "description", "captions")


def _of_summary(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The chapters that the summary has, [] where there is none."""
    summary = document.get("summary")
    found = document.get("chapters")
    if found is None and isinstance(summary, Mapping):
        found = summary.get("chapters")
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, Mapping) and {"start", "end"} <= one.keys()]


def _ffmetadata(title: object, chapters: Iterable[Chapter]) -> str:
    lines = [";FFMETADATA1"]
    if isinstance(title, str):
        lines.append(f"title={_escaped(title)}")
    for one in chapters:
        lines += ["[CHAPTER]", "TIMEBASE=1/1000"]
        lines += [f"START={round(one.start * 1000)}", f"END={round(one.end * 1000)}"]
        lines.append(f"title={_escaped(one.title)}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return re.sub(r"([=;#\\\n])", r"\\\1", text)


def _long_enough(chapters: Iterable[Chapter]) -> Iterator[Chapter]:
    """The chapters with short ones joined to the one before, or after at the beginning; the first
    begins at 0."""
    last: Chapter | None = None
    for one in chapters:
        if last is None:
            last = one._replace(start=0.0)
        elif last.end - last.start < SHORTEST or one.end - one.start < SHORTEST:
            last = last._replace(end=one.end)
        else:
            yield last
            last = one
    if last is not None:
        yield last


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
