"""The section of lessons on the report page: HTML alone, so that it is the same in a file and on a
live page, where a server sends the videos."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from engine import Item, PageContext, PageFile, Section
from stages.lesson.assemble import FACTS, FILM, POSTER, Assemble
from stages.lesson.pictures.image import PICTURE, LessonImage
from stages.media.pictures.thumbnail import thumbnail

TITLE = "Lessons"

MOST_OPEN = 3
"""Lessons whose sections are shown without being asked for."""

MOST_LESSONS = 200
MOST_PICTURES = 1_000
"""Of one page, at most."""

POSTER_SIDE, PICTURE_SIDE = 480, 208
"""Pixels of the longer side."""

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""Of a lesson whose files are damaged, or being replaced: it must not hide the others."""


@dataclass(frozen=True, slots=True)
class ShownLesson:
    """A finished lesson: its item, what lesson.json says, and the address of its video."""

    item: Item
    told: Mapping[str, Any]
    address: str

    @property
    def folder(self) -> Path:
        return self.item.folder / Assemble.name


def lesson_sections(context: PageContext) -> Iterator[Section]:
    """One section: the lessons that are done, by their titles."""
    lessons = sorted(_lessons(context), key=lambda one: (one.told["title"].casefold(), one.item.id))
    pictures = iter(range(MOST_PICTURES))
    opened = Markup(" open") if len(lessons) <= MOST_OPEN else ""
    shown = Markup("").join(_lesson(one, pictures, opened) for one in lessons[:MOST_LESSONS])
    if len(lessons) > MOST_LESSONS:
        more = f"and {len(lessons) - MOST_LESSONS:,} more, in videos/ of the work folder"
        shown += Markup("<p class=hint>{}</p>").format(more)
    nothing = Markup("<p class=hint>No video is finished yet.</p>")
    style = files("stages.lesson").joinpath("page.css").read_text("utf-8")
    body = Markup('<div class="lessons">{}</div>').format(shown or nothing)
    yield Section(TITLE, body, style, first=True)


def answer(context: PageContext, question: str, values: Mapping[str, str]) -> Any:
    """The video of a lesson, for the live page; None for anything else."""
    if question != "video":
        return None
    for record in context.items():
        if record.id == values.get("lesson") and record.outcome == "done":
            return PageFile(record.folder / Assemble.name / FILM, "video/mp4")
    return None


def _lessons(context: PageContext) -> Iterator[ShownLesson]:
    for record in context.items():
        item = Item(record.id, record.source, record.folder)
        if record.outcome != "done" or not item.has_output(Assemble.name):
            continue
        film = record.folder / Assemble.name / FILM
        address = f"ask/video?lesson={record.id}" if context.live else film.resolve().as_uri()
        try:
            told = json.loads((record.folder / Assemble.name / FACTS).read_text("utf-8"))
            yield ShownLesson(item, {**told, "title": str(told["title"])}, address)
        except UNREADABLE:
            continue


def _lesson(lesson: ShownLesson, pictures: Iterator[int], opened: str) -> Markup:
    told = lesson.told
    try:
        gaps = {gap["position"]: str(gap["why"]) for gap in told["gaps"]}
        positions = {one["position"] for one in told["sections"]}
        found = {
            part.position: part.output(LessonImage.name) / PICTURE
            for part in lesson.item.parts_with(LessonImage.name)
        }
        shown = [_section(lesson, one, found, gaps, pictures) for one in told["sections"]]
        shown += [
            Markup(
                "<li><div></div><div><p class=gap>Section {} is missing: {}</p></div></li>"
            ).format(position + 1, why)
            for position, why in gaps.items()
            if position not in positions
        ]
        poster = _kept(lesson.folder / POSTER, POSTER_SIDE)
        return Markup(
            '<details class="lesson"{}><summary><a href="{}" target=_blank rel=noopener>{}</a>'
            "<span><b>{}</b><span class=hint>{}</span>{}</span></summary><ol>{}</ol></details>"
        ).format(
            opened,
            lesson.address,
            _image(poster, f"The beginning of {told['title']}"),
            told["title"],
            f"{_clock(told['seconds'])}, {len(shown)} section{'s' * (len(shown) != 1)}",
            Markup("<span class=gap>{} missing</span>").format(len(gaps)) if gaps else "",
            Markup("").join(shown),
        )
    except UNREADABLE:
        return Markup("<p class=hint>{} cannot be shown: its files are damaged</p>").format(
            told["title"]
        )


def _section(
    lesson: ShownLesson,
    told: Mapping[str, Any],
    found: Mapping[int, Path],
    gaps: Mapping[int, str],
    pictures: Iterator[int],
) -> Markup:
    position = told["position"]
    picture = None
    if position in found and position not in gaps and next(pictures, None) is not None:
        picture = _kept(found[position], PICTURE_SIDE)
    notes = Markup("")
    if position in gaps:
        notes += Markup("<p class=gap>Missing: {}</p>").format(gaps[position])
    if told.get("stand_ins"):
        notes += Markup("<p class=hint>Stand-in: {}</p>").format(" and ".join(told["stand_ins"]))
    title = told["title"] or f"Section {position + 1}"
    said = Markup("").join(
        Markup("<li>{}<span>{}</span></li>").format(_moment(lesson, one["start"]), one["text"])
        for one in told["said"]
    )
    shown = '<a href="{}" target=_blank rel=noopener>{}</a><div><h4>{} {}</h4>{}<ul>{}</ul></div>'
    return Markup(f"<li>{shown}</li>").format(
        _at(lesson, told["start"]),
        _image(picture, ""),
        _moment(lesson, told["start"]),
        title,
        notes,
        said,
    )


def _at(lesson: ShownLesson, seconds: float) -> str:
    return f"{lesson.address}#t={seconds:g}"


def _moment(lesson: ShownLesson, seconds: float) -> Markup:
    link = Markup('<a class=time href="{}" target=_blank rel=noopener>{}</a>')
    return link.format(_at(lesson, seconds), _clock(seconds))


def _image(address: str | None, what: str) -> Markup:
    if address is None:
        return Markup('<span class="picture"></span>')
    return Markup('<img class="picture" src="{}" alt="{}">').format(address, what)


def _clock(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _kept(path: Path, longest: int) -> str | None:
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return None
    return _made(path, longest, changed)


@lru_cache(maxsize=MOST_PICTURES + MOST_LESSONS)
def _made(path: Path, longest: int, changed: int) -> str | None:
    """Made once: a live page asks again every few seconds."""
    return thumbnail(path, longest)
