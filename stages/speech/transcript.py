"""The transcript stage: what is said in a video, from its chunks."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Skip, Stage
from stages.speech.chunk_files import SavedChunk, read_chunk
from stages.speech.hearing import entry_of, segment_of
from stages.speech.transcript_words import SpeechSegment, seam, within

TRANSCRIPT = "transcript.json"


@dataclass(frozen=True, slots=True)
class _Told:
    """A chunk, and what transcribe wrote of it; None where it failed."""

    chunk: SavedChunk
    words: dict[str, Any] | None

    @property
    def segments(self) -> list[SpeechSegment]:
        return [segment_of(one) for one in self.words["segments"]] if self.words else []


class Transcript(Stage):
    """Join the words of all chunks.

    Of `chunks` it reads chunk.json of each, of `words` words.json of those that were transcribed.
    It writes transcript.json: {"language", "segments", "gaps", "made_by"}, times in seconds of the
    video. Raises Skip where there are no chunks, as there is no sound or nobody listens.
    """

    inputs = ("chunks", "words")
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        """There are none."""

    settings: "Transcript.Settings"

    def process(self, item: Item, out: Path) -> None:
        if not item.has_input("chunks"):
            raise Skip("nothing was listened to", kind="no_speech")
        told = [_read(part) for part in item.parts("chunks")]
        transcript = {
            "language": _language(told),
            "segments": [entry_of(one) for one in joined(told)],
            "gaps": [gap for one in told for gap in _gaps(one)],
            "made_by": next((one.words["made_by"] for one in told if one.words), None),
        }
        (out / TRANSCRIPT).write_text(json.dumps(transcript, ensure_ascii=False) + "\n")


def _read(part: Item) -> _Told:
    words = None
    if part.has_input("words"):
        words = json.loads((part.input("words") / "words.json").read_text())
    return _Told(read_chunk(part.input("chunks")), words)


def joined(told: Iterable[_Told]) -> list[SpeechSegment]:
    """The segments of all chunks, each word once: in a stretch that two chunks share, those of one
    up to a seam, and those of the other from there on."""
    found: list[SpeechSegment] = []
    earlier: list[SpeechSegment] = []
    since = float("-inf")
    before: _Told | None = None
    for one in told:
        since = float("-inf")
        if before is not None and before.words and one.words and before.chunk.after:
            since = seam(earlier, before.chunk.after)
            earlier = list(within(earlier, float("-inf"), since))
        found += earlier
        earlier = list(within(one.segments, since, float("inf")))
        before = one
    return [*found, *earlier]


def _gaps(told: _Told) -> list[dict[str, Any]]:
    chunk = told.chunk
    if told.words is None:
        why = "this chunk could not be transcribed"
        return [{"start": chunk.start, "end": chunk.end, "why": why}]
    found = list(told.words["gaps"])
    if chunk.after is not None and chunk.after.start == chunk.after.end:
        why = "speech without a pause was cut here: a word may be in two pieces"
        found.append({"start": chunk.after.start, "end": chunk.after.end, "why": why})
    return found


def _language(told: Iterable[_Told]) -> str | None:
    """That of most words."""
    counts: Counter[str] = Counter()
    for one in told:
        if one.words and one.words["language"]:
            counts[one.words["language"]] += sum(len(s["words"]) for s in one.words["segments"])
    return max(counts, key=lambda name: counts[name], default=None)
