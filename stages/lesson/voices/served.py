"""Narration by a service: in pieces that it takes, joined again, with every sentence's time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from engine import Transient
from stages.lesson.services.answers import MediaAnswer
from stages.lesson.services.asking import MediaAsker
from stages.lesson.voices.espeak import read_sound, spoken_as
from stages.lesson.voices.pcm import RATE, from_pcm, joined
from stages.lesson.voices.sentences import pieces_of, sentences_of
from stages.lesson.voices.spoken import Spoken, fault_of
from stages.lesson.voices.timing import Said, timed
from stages.media.media_file import NoMediaError

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

USUAL_RATE = 24_000
"""Samples a second of a service that does not say."""

SHORTEST_PIECE = 100
"""Characters: no sentence is cut into shorter pieces, whatever its words are read out as."""


@dataclass(frozen=True, slots=True)
class NarrationPiece:
    """Sentences that are asked for together, as they are written, and the text that is sent."""

    sentences: tuple[str, ...]
    aloud: str


def in_pieces(text: str, pronunciation: Mapping[str, str], most: int) -> list[NarrationPiece]:
    """The text in as few pieces as may be, each of at most `most` characters as it is sent. It is
    cut between sentences; a sentence that is longer is cut itself, after a comma if there is one
    near."""
    bits = [bit for one in sentences_of(text) for bit in _cut_to_fit(one, pronunciation, most)]
    pieces: list[NarrationPiece] = []
    for sentence, aloud in bits:
        last = pieces[-1] if pieces else None
        if last is not None and len(last.aloud) + 1 + len(aloud) <= most:
            both = (*last.sentences, sentence)
            pieces[-1] = NarrationPiece(both, f"{last.aloud} {aloud}")
        else:
            pieces.append(NarrationPiece((sentence,), aloud))
    return pieces


def _cut_to_fit(
    sentence: str, pronunciation: Mapping[str, str], most: int
) -> Sequence[tuple[str, str]]:
    """(as written, as sent) of the sentence's pieces: most often one."""
    longest = most
    while True:
        pieces = [(one, spoken_as(one, pronunciation)) for one in pieces_of(sentence, longest)]
        if longest <= SHORTEST_PIECE or all(len(aloud) <= most for _, aloud in pieces):
            return pieces
        longest = max(SHORTEST_PIECE, longest * 3 // 4)


async def have_spoken(asker: MediaAsker, pieces: Sequence[NarrationPiece], pause: float) -> Spoken:
    """The pieces, spoken and joined, with a pause of so many seconds between them. Raises as
    `MediaAsker.ask` does."""
    sounds = await asker.ask_each([one.aloud for one in pieces], read_spoken)
    said: list[Said] = []
    at = 0.0
    for piece, samples in zip(pieces, sounds, strict=True):
        times = timed(piece.sentences, samples)
        said += [Said(at + one.start, at + one.end, one.text) for one in times]
        at += len(samples) / RATE + pause
    characters = sum(len(one.aloud) for one in pieces)
    return Spoken(joined(sounds, pause), said, asker.made_by, len(pieces), characters)


def read_spoken(answer: MediaAnswer, text: str) -> "Samples":
    """The samples of a service's answer. Raises Transient, of kind "silent", where these cannot be
    what the text says, and of kind "no_sound" where there are none."""
    try:
        samples = _samples(answer)
    except (NoMediaError, av.FFmpegError) as error:
        why = f"what the service answered is no sound that can be read: {error}"
        raise Transient(why, kind="no_sound") from None
    if (fault := fault_of(samples, text)) is not None:
        raise Transient(fault, kind="silent")
    return samples


def _samples(answer: MediaAnswer) -> "Samples":
    mime = answer.mime.lower()
    bare = re.match(r"audio/(l16|pcm|x-pcm|raw)\b|application/octet-stream|$", mime)
    if bare and not answer.content.startswith((b"RIFF", b"ID3", b"OggS", b"fLaC")):
        told = re.search(r"rate=(\d+)", mime)
        return from_pcm(answer.content, int(told[1]) if told else USUAL_RATE)
    return read_sound(answer.content)
