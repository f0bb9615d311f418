"""Words and segments of speech, and what follows from their times. Pure; times are seconds."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

HOLE = 2.0
"""Seconds of speech without a word from which on it is asked about again, and said."""


LONGEST_WORD = 1.5
"""Seconds: a model that lost words stretches the one before them to the end of the sound."""

_USUAL_WORD = 0.3


class Stretch(NamedTuple):
    """From second to second."""

    start: float
    end: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is written, and when it is said."""

    start: float
    end: float
    word: str

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    @property
    def covers(self) -> Stretch:
        """The time for which the word accounts: little of one that is too long to be one."""
        is_word = self.end - self.start <= LONGEST_WORD
        return Stretch(self.start, self.end if is_word else self.start + _USUAL_WORD)

    def trimmed(self) -> "Word":
        """The word with an end that can be."""
        return replace(self, end=min(self.end, self.start + LONGEST_WORD))


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """What is said in one go. `estimated`: the model gave no times of the words, and these are
    spread over the segment's. `foreign`: it was heard in another language than the rest of the
    video. The numbers are the model's own, None where it gives none."""

    text: str
    words: tuple[Word, ...]
    estimated: bool = False
    foreign: bool = False
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return max(word.end for word in self.words)

    @property
    def doubtful(self) -> bool:
        """Whether its numbers are those of text that a model made up, as others found them, or its
        language is not the others'."""
        sure = 0.0 if self.avg_logprob is None else self.avg_logprob
        silent = (self.no_speech_prob or 0.0) > 0.6 and sure < -0.5
        return self.foreign or silent or sure < -1.0 or (self.compression_ratio or 0.0) > 2.4

    def of(self, words: Sequence[Word]) -> "SpeechSegment":
        """The segment of some of its words."""
        if len(words) == len(self.words):
            return replace(self, words=tuple(words))
        between = " " if " " in self.text.strip() else ""
        return replace(self, words=tuple(words), text=between.join(one.word for one in words))


class PieceTimes:
    """Where in the video the seconds of a file are that holds pieces of it, one after the other."""

    def __init__(self, pieces: Sequence[Stretch]) -> None:
        self.pieces = pieces
        self._offsets = [0.0, *accumulate(piece.end - piece.start for piece in pieces)]

    def placed(self, word: Word) -> Word:
        """A word of the file in the video: in one piece, that of its middle."""
        at = self._at(word.middle)
        piece, shift = self.pieces[at], self.pieces[at].start - self._offsets[at]
        start = min(max(word.start + shift, piece.start), piece.end)
        return Word(start, min(max(word.end + shift, start), piece.end), word.word)

    def second(self, time: float) -> float:
        """The second of the file that this one of the video is, or the nearest one in it."""
        at = max(0, bisect_right(self.pieces, time, key=lambda piece: piece.start) - 1)
        piece = self.pieces[at]
        return self._offsets[at] + min(max(time, piece.start), piece.end) - piece.start

    def _at(self, second: float) -> int:
        return min(max(0, bisect_right(self._offsets, second) - 1), len(self.pieces) - 1)


def spread(text: str, over: Sequence[Stretch]) -> tuple[Word, ...]:
    """The words of `text` over these stretches, each as long as its letters are of all letters."""
    written = text.split()
    if not written or not over:
        return ()
    timeline = PieceTimes(over)
    length = sum(one.end - one.start for one in over)
    letters = [0, *accumulate(len(word) for word in written)]
    edges = [length * one / letters[-1] for one in letters]
    return tuple(
        timeline.placed(Word(start, end, word))
        for word, start, end in zip(written, edges, edges[1:], strict=False)
    )


def spelled(text: str, words: Sequence[Word]) -> tuple[Word, ...]:
    """The words as the text writes them, with its capitals and stops, where it has as many."""
    written = text.split()
    if len(written) != len(words):
        return tuple(replace(one, word=one.word.strip()) for one in words)
    return tuple(replace(one, word=word) for one, word in zip(words, written, strict=True))


def holes(speech: Sequence[Stretch], segments: Iterable[SpeechSegment]) -> list[Stretch]:
    """Stretches between two words with more than HOLE seconds of speech, from its first to its
    last."""
    words = sorted(word.covers for one in segments for word in one.words)
    found, covered = [], float("-inf")
    for start, end in [*words, (float("inf"), float("inf"))]:
        missed = [
            Stretch(max(one.start, covered), min(one.end, start))
            for one in speech
            if one.end > covered and one.start < start
        ]
        if sum(one.end - one.start for one in missed) > HOLE:
            found.append(Stretch(missed[0].start, missed[-1].end))
        covered = max(covered, end)
    return found


def within(segments: Iterable[SpeechSegment], start: float, end: float) -> Iterator[SpeechSegment]:
    """The segments' words whose middles lie from `start` to before `end`: a segment at an edge is
    split by its words."""
    for segment in segments:
        words = [word for word in segment.words if start <= word.middle < end]
        if words:
            yield segment.of(words)


def seam(before: Sequence[SpeechSegment], after: Sequence[SpeechSegment], shared: Stretch) -> float:
    """Where to go from one chunk's words to the next one's, in the inner half of the stretch that
    they share: there, no word is heard in part.

    It is where the middles of words are furthest apart. Those of one word that both heard are as
    far apart as the two models' times differ, which mostly is less than from a word to the next: so
    each word has its middles on one side. Where a pause has a model off by more, both would keep a
    word, or neither would: so of these places those come first on whose two sides both have heard
    the most alike. Text alone never says where: it repeats.
    """
    quarter = (shared.end - shared.start) / 4
    first, last = shared.start + quarter, shared.end - quarter
    one, other = (
        [word for segment in some for word in segment.words if _is_in(word, shared)]
        for some in (before, after)
    )
    heard = [word.middle for word in (*one, *other)]
    edges = sorted([first, *(middle for middle in heard if first < middle < last), last])
    if len(edges) == 2:
        return shared.middle

    def rank(gap: tuple[float, float]) -> tuple[int, float]:
        at = sum(gap) / 2
        return sum(_differ(one, other, at, side) for side in (True, False)), gap[0] - gap[1]

    start, end = min(pairwise(edges), key=rank)
    return (start + end) / 2


def _is_in(word: Word, stretch: Stretch) -> bool:
    return stretch.start <= word.middle <= stretch.end


def _differ(one: Sequence[Word], other: Sequence[Word], at: float, is_before: bool) -> int:
    """How many words the two have otherwise before that second, or from it on: to put in, take out
    or replace, at least, without capitals and stops."""
    texts, others = (
        ["".join(filter(str.isalnum, w.word)).lower() for w in some if (w.middle < at) == is_before]
        for some in (one, other)
    )
    row = list(range(len(others) + 1))
    for place, word in enumerate(texts, 1):
        corner, row[0] = row[0], place
        for to, found in enumerate(others, 1):
            corner, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, corner + (word != found))
    return row[-1]
