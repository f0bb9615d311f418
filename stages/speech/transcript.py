"""The transcript stage: what is said in a video, from its chunks."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Skip, Stage
from stages.speech.chunk_files import SavedChunk, read_chunk
from stages.speech.chunks import SUBTITLES
from stages.speech.hearing import entry_of, segment_of
from stages.speech.transcript_words import SpeechSegment, Stretch, seam, spread, within

TRANSCRIPT = "transcript.json"


@dataclass(frozen=True, slots=True)
class ToldChunk:
    """A chunk, and what transcribe wrote of it; None where it failed: `why`, if it is known."""

    chunk: SavedChunk
    words: dict[str, Any] | None
    why: str | None = None
    is_foreign: bool = False

    @property
    def segments(self) -> list[SpeechSegment]:
        found = [segment_of(one) for one in self.words["segments"]] if self.words else []
        return [replace(one, foreign=self.is_foreign) for one in found]


class Transcript(Stage):
    """Join the words of all chunks.

    Of `chunks` it reads chunk.json of each, of `words` words.json of those that were transcribed.
    It writes transcript.json: {"language", "segments", "gaps", "made_by"}, times in seconds of the
    video. Where chunks has found subtitles, they are the transcript. Raises Skip where there are no
    chunks, as there is no sound or nobody listens.
    """

    inputs = ("chunks", "words")
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        """There are none."""

    settings: "Transcript.Settings"

    def process(self, item: Item, out: Path) -> None:
        if not item.has_input("chunks"):
            raise Skip("nothing was listened to", kind="no_speech")
        subtitles = item.input("chunks") / SUBTITLES
        if subtitles.exists():
            transcript = from_subtitles(json.loads(subtitles.read_text(encoding="utf-8")))
        else:
            transcript = from_chunks([_read(part) for part in item.parts("chunks")])
        told = json.dumps(transcript, ensure_ascii=False)
        (out / TRANSCRIPT).write_text(f"{told}\n", encoding="utf-8")


def from_chunks(told: Sequence[ToldChunk]) -> dict[str, Any]:
    """The transcript of a video's chunks, in order."""
    language = _language(told)
    told = [replace(one, is_foreign=_is_foreign(one, language)) for one in told]
    return {
        "language": language,
        "segments": [entry_of(one) for one in joined(told)],
        "gaps": [gap for one in told for gap in _gaps(one)],
        "made_by": next((one.words["made_by"] for one in told if one.words), None),
    }


def from_subtitles(told: Mapping[str, Any]) -> dict[str, Any]:
    """The transcript that a video's subtitles are, with words at times spread over each cue."""
    segments = []
    for cue in told["cues"]:
        words = spread(cue["text"], [Stretch(cue["start"], cue["end"])])
        if words:
            segments.append(entry_of(SpeechSegment(cue["text"], words, estimated=True)))
    made_by = f"subtitles:{told['codec']}"
    return {"language": told["language"], "segments": segments, "gaps": [], "made_by": made_by}


def _read(part: Item) -> ToldChunk:
    words = None
    if part.has_input("words"):
        words = json.loads((part.input("words") / "words.json").read_text())
    return ToldChunk(read_chunk(part.input("chunks")), words, part.why_failed("words"))


def joined(told: Iterable[ToldChunk]) -> list[SpeechSegment]:
    """The segments of all chunks, each word once: in a stretch that two chunks share, those of one
    up to a seam, and those of the other from there on."""
    found: list[SpeechSegment] = []
    earlier: list[SpeechSegment] = []
    since = float("-inf")
    before: ToldChunk | None = None
    for one in told:
        since = float("-inf")
        if before is not None and before.words and one.words and before.chunk.after:
            since = seam(earlier, one.segments, before.chunk.after)
            earlier = list(within(earlier, float("-inf"), since))
        found += earlier
        earlier = list(within(one.segments, since, float("inf")))
        before = one
    return [*found, *earlier]


def _gaps(told: ToldChunk) -> list[dict[str, Any]]:
    chunk = told.chunk
    if told.words is None:
        why = ": ".join(filter(None, ("this chunk could not be transcribed", told.why)))
        return [{"start": chunk.start, "end": chunk.end, "why": why}]
    found = list(told.words["gaps"])
    if chunk.after is not None and chunk.after.start == chunk.after.end:
        why = "speech without a pause was cut here: a word may be in two pieces"
        found.append({"start": chunk.after.start, "end": chunk.after.end, "why": why})
    return found


def _is_foreign(told: ToldChunk, language: str | None) -> bool:
    """A video has one language: a model that hears another one in a chunk is often wrong."""
    return bool(told.words and told.words["language"] not in (None, language))


def _language(told: Iterable[ToldChunk]) -> str | None:
    """That of most words."""
    counts: Counter[str] = Counter()
    for one in told:
        if one.words and one.words["language"]:
            counts[one.words["language"]] += sum(len(s["words"]) for s in one.words["segments"])
    return max(counts, key=lambda name: counts[name], default=None)
