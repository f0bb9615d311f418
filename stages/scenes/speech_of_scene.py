"""What is said in a scene, from the transcript of its video."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import Item
from stages.scenes.record import Gap, Speech, SpokenSegment, SpokenWord
from stages.speech.hearing import segment_of
from stages.speech.transcript import TRANSCRIPT
from stages.speech.transcript_words import SpeechSegment, within


def speech_of_scene(
    item: Item, start: float, end: float, made_by: dict[str, str]
) -> tuple[Speech | None, list[Gap]]:
    """What is said from second `start` to `end`, a segment at an edge being split by its words; and
    what is missing there. None where nobody listened."""
    if not item.has_input("transcript"):
        return None, []
    told, segments = _transcript(item.input("transcript") / TRANSCRIPT)
    if told["made_by"]:
        made_by["speech"] = told["made_by"]
    said = [_spoken(one) for one in within(segments, start, end)]
    gaps = [
        Gap(
            branch="speech",
            why=gap["why"],
            start=max(gap["start"], start),
            end=min(gap["end"], end),
        )
        for gap in told["gaps"]
        if gap["start"] < end and gap["end"] >= start
    ]
    text = " ".join(one.text for one in said)
    return Speech(language=told["language"], text=text, segments=tuple(said)), gaps


def _transcript(path: Path) -> tuple[dict[str, Any], Sequence[SpeechSegment]]:
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, inode: int) -> tuple[dict[str, Any], Sequence[SpeechSegment]]:
    """Of the videos that are under way: each scene of one reads the same."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return told, tuple(segment_of(one) for one in told["segments"])


def _spoken(segment: SpeechSegment) -> SpokenSegment:
    return SpokenSegment(
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        text=segment.text,
        words=tuple(
            SpokenWord(start=one.start, end=one.end, word=one.word) for one in segment.words
        ),
        estimated=segment.estimated,
        doubtful=segment.doubtful,
    )
