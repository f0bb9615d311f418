"""The scenes of a video as a list that a model reads, in requests that each hold a bounded part.

Pure. An entry is a scene, or a chapter that stands for several.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stages.scenes.describing.answers import ChapterAnswer, VideoAnswer, VideoChapter
from stages.vision.forms import UnfitAnswer

CHARACTERS = 4
"""Of a token, on average."""


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """Scenes `first` to `last`, seconds `start` to `end`, in words; `title` where it is a chapter;
    `text` None where nothing is known."""

    first: int
    last: int
    start: float
    end: float
    text: str | None
    title: str | None = None

    def line(self) -> dict[str, Any]:
        """As the model is told of it."""
        told: dict[str, Any] = {"scene": self.first, "start": self.start, "end": self.end}
        if self.title is not None:
            told |= {"last_scene": self.last, "title": self.title}
        return told | {"description": self.text or "(no description)"}

    @property
    def tokens(self) -> int:
        """An estimate of what its line costs."""
        return len(json.dumps(self.line(), ensure_ascii=False)) // CHARACTERS + 1


def entries_of(records: Sequence[Mapping[str, Any]]) -> list[OutlineEntry]:
    """A video's scenes, in order."""
    return [scene_entry(one, (one.get("description") or {}).get("description")) for one in records]


def scene_entry(record: Mapping[str, Any], text: str | None) -> OutlineEntry:
    """A scene by its record, in these words."""
    return OutlineEntry(record["index"], record["index"], record["start"], record["end"], text)


def in_requests(entries: Sequence[OutlineEntry], most_tokens: int) -> list[list[OutlineEntry]]:
    """The entries in groups of at most so many tokens, in order; but of two entries at least, so
    that chapters of the groups are fewer than the entries."""
    groups: list[list[OutlineEntry]] = []
    size = 0
    for entry in entries:
        if not groups or (size + entry.tokens > most_tokens and len(groups[-1]) > 1):
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += entry.tokens
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def check_chapters(answer: VideoAnswer, entries: Sequence[OutlineEntry]) -> None:
    """Raises UnfitAnswer where the chapters do not cover the entries, in order."""
    begins = [entry.first for entry in entries]
    firsts = [chapter.first for chapter in answer.chapters]
    strange = [number for number in firsts if number not in begins]
    if strange:
        raise UnfitAnswer(f"chapters: no scene has the number {strange[0]}")
    if firsts[0] != begins[0]:
        raise UnfitAnswer(f"chapters: the first one has to begin with scene {begins[0]}")
    if any(later <= first for first, later in pairwise(firsts)):
        raise UnfitAnswer("chapters: each has to begin after the one before")


def chapters_of(answer: VideoAnswer, entries: Sequence[OutlineEntry]) -> Iterator[VideoChapter]:
    """The chapters of an answer about these entries, with times and all of their scenes."""
    for chapter, of_it in _with_entries(answer.chapters, entries):
        yield VideoChapter(
            title=chapter.title,
            summary=chapter.summary,
            start=of_it[0].start,
            end=of_it[-1].end,
            first_scene=of_it[0].first,
            last_scene=of_it[-1].last,
        )


def folded(entries: Sequence[OutlineEntry], answers: Sequence[VideoAnswer]) -> list[OutlineEntry]:
    """Fewer entries that stand for these: the chapters of the answers about their groups or, where
    those are not fewer, each answer as a whole. `entries` are those of all groups."""
    pairs = [*_groups(entries, answers)]
    found = [
        OutlineEntry(one.first_scene, one.last_scene, one.start, one.end, one.summary, one.title)
        for group, answer in pairs
        for one in chapters_of(answer, group)
    ]
    return found if len(found) < len(entries) else [_whole(*pair) for pair in pairs]


def _whole(group: Sequence[OutlineEntry], answer: VideoAnswer) -> OutlineEntry:
    first, last = group[0], group[-1]
    return OutlineEntry(first.first, last.last, first.start, last.end, answer.summary, answer.title)


def _groups(
    entries: Sequence[OutlineEntry], answers: Sequence[VideoAnswer]
) -> Iterator[tuple[list[OutlineEntry], VideoAnswer]]:
    begins = [answer.chapters[0].first for answer in answers]
    ends = [*begins[1:], entries[-1].first + 1]
    for begin, end, answer in zip(begins, ends, answers, strict=True):
        yield [entry for entry in entries if begin <= entry.first < end], answer


def _with_entries(
    chapters: Sequence[ChapterAnswer], entries: Sequence[OutlineEntry]
) -> Iterator[tuple[ChapterAnswer, list[OutlineEntry]]]:
    ends = [*(chapter.first for chapter in chapters[1:]), entries[-1].first + 1]
    for chapter, end in zip(chapters, ends, strict=True):
        yield chapter, [entry for entry in entries if chapter.first <= entry.first < end]
