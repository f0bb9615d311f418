"""What a speech model answers about one clip, and the segments that come of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from stages.speech.audio_file import AudioFormat
from stages.speech.transcript_words import SpeechSegment, Stretch, Word, spelled, spread

PASSAGE = 1.0
"""Seconds of a pause at which a segment ends, where the model gives none."""

_STOPS = (".", "?", "!", "。", "？", "！")

_NUMBERS = ("avg_logprob", "no_speech_prob", "compression_ratio")


@dataclass(frozen=True, slots=True)
class SpeechClip:
    """A file of sound that a model is asked about. `language` is ISO 639-1, where it is known,
    `prompt` names and words that are said."""

    content: bytes
    form: AudioFormat
    language: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: what is said, in which language, if the model tells, and its segments and words as
    the model gives them, if it does: {"start", "end", "text", …} and {"start", "end", "word"},
    in seconds of the clip."""

    text: str
    language: str | None = None
    segments: tuple[Mapping[str, Any], ...] = ()
    words: tuple[Mapping[str, Any], ...] = ()
    tokens: int | None = field(default=None, compare=False)
    refusal: str | None = None
    fault: bool = field(default=False, compare=False)

    def entry(self) -> dict[str, Any]:
        """As JSON has it; `heard` reads it."""
        return asdict(self)


class Backend(Protocol):
    """Who is asked what is said in a clip."""

    made_by: str
    """Who it is, for the record."""

    async def hear(self, clip: SpeechClip) -> Heard:
        """What is said in the clip. Raises the engine's endings."""

    def bound(self) -> str | None:
        """What bounds it, as `Stage.bound` says it."""

    def drain(self) -> None:
        """The run takes nothing new, as `Stage.drain` has it."""

    async def close(self) -> None: ...


def heard(payload: Mapping[str, Any]) -> Heard | None:
    """The answer in the JSON of a transcription; None where it is none."""
    segments = [one for one in map(_segment, _listed(payload, "segments")) if one is not None]
    words = [one for one in map(_word, _listed(payload, "words")) if one is not None]
    for one in segments:
        words += one.pop("words", [])
    text = payload.get("text")
    if not isinstance(text, str):
        if not segments:
            return None
        text = " ".join(one["text"].strip() for one in segments)
    language = payload.get("language")
    language = language.strip().lower() if isinstance(language, str) else None
    return Heard(text.strip(), language or None, tuple(segments), tuple(words))


def segments_of(answer: Heard, speech: Sequence[Stretch]) -> list[SpeechSegment]:
    """The segments of an answer about a clip with speech at `speech`, each with its words.

    Words are those of the segment that their middle is in. Where the model gives no words, they
    are spread over the segment, and where it gives no segments, over the speech. Words without
    segments are those of sentences, and of what is said between two pauses.
    """
    words = sorted((_timed(one) for one in answer.words), key=lambda one: one.start)
    if not answer.segments:
        if words:
            return list(_passages(answer.text, spelled(answer.text, words)))
        guessed = spread(answer.text, speech)
        return [SpeechSegment(answer.text, guessed, estimated=True)] if guessed else []
    found: list[SpeechSegment] = []
    for at, one in enumerate(answer.segments):
        last = at + 1 == len(answer.segments)
        until = float("inf") if last else answer.segments[at + 1]["start"]
        own = [word for word in words if word.middle < until]
        words = words[len(own) :]
        segment = _with_words(one, own)
        if segment is not None:
            found.append(segment)
    return found


def _passages(text: str, words: Sequence[Word]) -> Iterator[SpeechSegment]:
    between = " " if " " in text else ""
    begin = 0
    for at, (one, after) in enumerate(pairwise((*words, None)), 1):
        assert one is not None
        if after is None or after.start - one.end > PASSAGE or one.word.endswith(_STOPS):
            said = words[begin:at]
            yield SpeechSegment(between.join(word.word for word in said), tuple(said))
            begin = at


def _with_words(told: Mapping[str, Any], words: Sequence[Word]) -> SpeechSegment | None:
    text = told["text"].strip()
    numbers: dict[str, Any] = {name: told.get(name) for name in _NUMBERS}
    if words:
        return SpeechSegment(text, spelled(text, words), **numbers)
    guessed = spread(text, [Stretch(told["start"], max(told["start"], told["end"]))])
    return SpeechSegment(text, guessed, estimated=True, **numbers) if guessed else None


def _timed(told: Mapping[str, Any]) -> Word:
    return Word(told["start"], max(told["start"], told["end"]), told["word"].strip())


def _listed(payload: Mapping[str, Any], name: str) -> list[Any]:
    value = payload.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def _segment(told: Any) -> dict[str, Any] | None:
    if not _has_times(told) or not isinstance(told.get("text"), str):
        return None
    found = {"start": told["start"], "end": told["end"], "text": told["text"]}
    found |= {name: told[name] for name in _NUMBERS if isinstance(told.get(name), int | float)}
    words = [one for one in map(_word, _listed(told, "words")) if one is not None]
    return found | ({"words": words} if words else {})


def _word(told: Any) -> dict[str, Any] | None:
    if not _has_times(told) or not isinstance(told.get("word"), str) or not told["word"].strip():
        return None
    return {"start": told["start"], "end": told["end"], "word": told["word"]}


def _has_times(told: Any) -> bool:
    return isinstance(told, dict) and all(
        isinstance(told.get(name), int | float) for name in ("start", "end")
    )
