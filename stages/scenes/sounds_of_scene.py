"""What was heard in a scene, as its record states it."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import Item
from stages.scenes.perception.sounds import SOUNDS
from stages.scenes.record import SoundTag, TimeSpan

TRANSCRIPT = "transcript.json"

VOICES = ("speech", "singing", "conversation", "narration", "rapping", "choir", "chant")
"""In the labels of what may have words to it, in AudioSet's names."""

SURELY = 0.3
"""The score of such a label from which on missing words are worth a word."""

Window = Mapping[str, Any]


def sounds_of_scene(
    item: Item, start: float, end: float, made_by: dict[str, str]
) -> tuple[SoundTag, ...] | None:
    """The sounds of the scene; None where nobody listened. Notes in `made_by` who did."""
    if not item.has_input("sounds"):
        return None
    found = _read(item.input("sounds") / SOUNDS)
    made_by["sounds"] = found["made_by"]
    return tags_between(found["windows"], start, end)


def speech_without_words(item: Item, start: float, end: float) -> tuple[TimeSpan, ...] | None:
    """Where speech or singing is heard in the scene and the transcript has no word; None where
    there are no sounds, or no transcript, to tell it by."""
    if not (item.has_input("sounds") and item.has_input("transcript")):
        return None
    windows = _read(item.input("sounds") / SOUNDS)["windows"]
    transcript = _read(item.input("transcript") / TRANSCRIPT)
    return wordless_between(windows, words_of(transcript), start, end)


def tags_between(windows: Sequence[Window], start: float, end: float) -> tuple[SoundTag, ...]:
    """The labels of the windows that overlap those seconds, the highest scores first.

    A label's score is the mean of its scores in these windows, each weighted by the seconds that it
    shares with the stretch; where a window does not have the label its score counts as 0.
    """
    shared, sums = 0.0, defaultdict[str, float](float)
    for window in windows:
        seconds = min(end, window["end"]) - max(start, window["start"])
        if seconds <= 0:
            continue
        shared += seconds
        for tag in window["tags"]:
            sums[tag["label"]] += seconds * tag["score"]
    scores = {label: round(total / shared, 4) for label, total in sums.items()}
    order = sorted(scores, key=lambda label: (-scores[label], label))
    return tuple(SoundTag(label=label, score=scores[label]) for label in order if scores[label])


def words_of(transcript: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The times of all words of a transcript; of a segment without words, its own."""
    return [
        (one["start"], one["end"])
        for segment in transcript["segments"]
        for one in segment.get("words") or [segment]
    ]


def wordless_between(
    windows: Sequence[Window], words: Sequence[tuple[float, float]], start: float, end: float
) -> tuple[TimeSpan, ...]:
    """The parts of those seconds in windows with a voice and without a single word; windows that
    overlap are joined."""
    spans: list[tuple[float, float]] = []
    for window in windows:
        first, last = max(start, window["start"]), min(end, window["end"])
        if first >= last or not _has_voice(window):
            continue
        if any(begin < window["end"] and until > window["start"] for begin, until in words):
            continue
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(last, spans[-1][1])
        else:
            spans.append((first, last))
    return tuple(TimeSpan(start=first, end=last) for first, last in spans)


def _has_voice(window: Window) -> bool:
    return any(
        tag["score"] >= SURELY and any(voice in tag["label"].lower() for voice in VOICES)
        for tag in window["tags"]
    )


def _read(path: Path) -> dict[str, Any]:
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _parsed(path: Path, changed: int, size: int) -> dict[str, Any]:
    """The file's content, kept: each scene of a video reads it."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
