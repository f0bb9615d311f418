"""A chunk transcribed: its words in the video's time, and whether there are any for all speech."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anyio.to_thread import run_sync

from stages.speech.chunk_files import SavedChunk
from stages.speech.heard import Backend, Heard, segments_of
from stages.speech.transcript_words import SpeechSegment, Stretch, Word, holes

MOST_ASKED_AGAIN = 20
"""Holes of one chunk that are asked about again, the longest first: music that is taken for speech
may have many."""


@dataclass(frozen=True, slots=True)
class HeardChunk:
    """`missed` are the holes that stay. `asked_again`: how many were asked about once more."""

    language: str | None
    segments: tuple[SpeechSegment, ...]
    missed: tuple[Stretch, ...]
    asked_again: int


async def hear_chunk(backend: Backend, chunk: SavedChunk, *, again: bool) -> HeardChunk:
    """What is said in the chunk. With `again`, each stretch of speech for which no word came back
    is asked about once more, alone."""
    answer = await backend.hear(chunk.clip)
    segments = placed(answer, chunk)
    found = _holes(chunk, segments)
    asked = sorted(found, key=lambda one: one.start - one.end)[: MOST_ASKED_AGAIN * again]
    for hole in sorted(asked):
        alone = await run_sync(partial(chunk.cut_out, hole))
        more = placed(await backend.hear(alone.clip), alone)
        segments = filled(segments, more, hole)
    missed = tuple(_holes(chunk, segments))
    told = [replace(one, words=tuple(word.trimmed() for word in one.words)) for one in segments]
    return HeardChunk(answer.language, tuple(told), missed, len(asked))


def _holes(chunk: SavedChunk, segments: list[SpeechSegment]) -> list[Stretch]:
    """Where nobody looked for speech, nobody knows whether silence or words are missing."""
    return holes(chunk.speech, segments) if chunk.is_detected else []


def placed(answer: Heard, chunk: SavedChunk) -> list[SpeechSegment]:
    """The segments of an answer about a chunk, in the video's time."""
    timeline = chunk.timeline
    said = [Stretch(timeline.second(one.start), timeline.second(one.end)) for one in chunk.speech]
    return [
        replace(one, words=tuple(timeline.placed(word) for word in one.words))
        for one in segments_of(answer, said)
    ]


def filled(
    segments: list[SpeechSegment], more: list[SpeechSegment], hole: Stretch
) -> list[SpeechSegment]:
    """The segments with words of `more` for a hole: those that are said between its neighbours."""
    known = [word.covers for one in segments for word in one.words]
    since = max((one.end for one in known if one.middle < hole.middle), default=-1.0)
    until = min((one.start for one in known if one.middle > hole.middle), default=float("inf"))
    new = [
        one.of(words)
        for one in more
        if (words := [word for word in one.words if since <= word.middle <= until])
    ]
    return sorted([*segments, *new], key=lambda one: one.start)


def entry_of(segment: SpeechSegment) -> dict[str, Any]:
    """A segment as JSON; `segment_of` reads it."""
    numbers = {
        name: value
        for name in ("avg_logprob", "no_speech_prob", "compression_ratio")
        if (value := getattr(segment, name)) is not None
    }
    return {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "doubtful": segment.doubtful,
        "estimated": segment.estimated,
        "foreign": segment.foreign,
        **numbers,
        "words": [
            {"start": round(one.start, 3), "end": round(one.end, 3), "word": one.word}
            for one in segment.words
        ],
    }


def segment_of(entry: dict[str, Any]) -> SpeechSegment:
    """The segment of an entry."""
    return SpeechSegment(
        entry["text"],
        tuple(Word(**word) for word in entry["words"]),
        entry["estimated"],
        entry["foreign"],
        entry.get("avg_logprob"),
        entry.get("no_speech_prob"),
        entry.get("compression_ratio"),
    )
