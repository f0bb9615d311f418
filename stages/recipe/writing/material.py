"""What a document is written from: notes of frames, words, and what the video's page says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import Item
from stages.files.folders import INFO
from stages.recipe.frames.frames import FRAME, FRAMES, PICTURE
from stages.recipe.writing.analyse import NOTES
from stages.speech.transcript import TRANSCRIPT

MOST_SAID = 60_000
"""Characters of spoken words that are told, at most: an hour's, about."""


@dataclass(frozen=True, slots=True)
class ChosenFrame:
    """A frame of the document: its second, its picture, and its notes, if there are any."""

    at: float
    picture: Path
    notes: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Material:
    """All of it. `segments` of speech have a start, an end and a text; None: nobody listened."""

    title: str | None
    description: str | None
    length: float
    frames: Sequence[ChosenFrame]
    segments: Sequence[dict[str, Any]] | None

    @property
    def missing(self) -> list[float]:
        """The seconds of frames without notes."""
        return [one.at for one in self.frames if one.notes is None]

    def told(self) -> dict[str, Any]:
        """As a model is told of it."""
        frames = [
            {name: value for name, value in one.notes.items() if value and name != "made_by"}
            | {"at": one.at}
            for one in self.frames
            if one.notes is not None
        ]
        told: dict[str, Any] = {"title": self.title, "length": self.length, "frames": frames}
        if self.missing:
            told["not_looked_at"] = self.missing
        if self.segments is not None:
            told["words"] = _within(self.segments)
        return told


def read_material(item: Item) -> Material:
    """The material in the inputs `frames`, `notes` and, where there is one, `transcript`."""
    folder = item.input("frames")
    whole = json.loads((folder / FRAMES).read_text("utf-8"))
    info: dict[str, Any] = {}
    if (folder / INFO).is_file():
        info = json.loads((folder / INFO).read_text("utf-8"))
    notes = {
        part.position: json.loads((part.input("notes") / NOTES).read_text("utf-8"))
        for part in item.parts("notes")
        if (part.input("notes") / NOTES).is_file()
    }
    frames = [
        ChosenFrame(
            json.loads((part.input("frames") / FRAME).read_text("utf-8"))["at"],
            part.input("frames") / PICTURE,
            notes.get(part.position),
        )
        for part in item.parts("frames")
    ]
    segments = None
    if item.has_input("transcript"):
        said = json.loads((item.input("transcript") / TRANSCRIPT).read_text("utf-8"))
        segments = [
            {"start": one["start"], "end": one["end"], "text": one["text"]}
            for one in said["segments"]
        ]
    return Material(
        _text(info, "title"), _text(info, "description"), whole["length"], frames, segments
    )


def _text(info: dict[str, Any], name: str) -> str | None:
    value = info.get(name)
    return value if isinstance(value, str) and value.strip() else None


def _within(segments: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first segments, of so many characters as a request may have."""
    kept, size = [], 0
    for one in segments:
        size += len(one["text"])
        if size > MOST_SAID:
            break
        kept.append(one)
    return kept
