"""Where speech is cut into chunks, each of which is one call. Pure; times are sample numbers.

A chunk holds pieces of the track: speech, with some silence around it, and nothing else. It is cut
off in a silence, so no word is cut, and chunks do not overlap. Only where no silence is in reach
do two chunks share a stretch: what is said there is joined by the times of the words.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from stages.sound.track import RATE
from stages.speech.spans import SampleSpan, common, merged, padded, total

PADDING = round(0.4 * RATE)
"""Samples of silence that are sent before and after speech: a detector finds it a little late, and
loses it a little early."""

PAUSE = RATE
"""Samples of silence from which on it is left out."""

SHORTEST_SILENCE = RATE // 4
"""Samples of silence in which a chunk may be cut: shorter ones are within words."""


_SLACK = 1.25
"""How much longer than usual a chunk may be, before there is one more."""


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Samples of a chunk: `usual` is what is aimed for, `most` what it never exceeds, and `overlap`
    what two chunks share where speech itself has to be cut; 0: they share nothing there either."""

    usual: int
    most: int
    overlap: int

    def __post_init__(self) -> None:
        if not (0 <= 4 * self.overlap <= self.most and 0 < self.usual <= self.most):
            raise ValueError(f"no limits of chunks: {self}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is sent in one call: `pieces` of the track, in order. `speech` is where in them the
    detector found speech. `before` and `after` are the stretches that the chunk shares with its
    neighbours, or the places where speech was cut without an overlap; None at a silence."""

    pieces: tuple[SampleSpan, ...]
    speech: tuple[SampleSpan, ...]
    before: SampleSpan | None = None
    after: SampleSpan | None = None

    @property
    def length(self) -> int:
        """Samples that are sent."""
        return total(self.pieces)


def plan_chunks(speech: Sequence[SampleSpan], length: int, limits: ChunkLimits) -> list[Chunk]:
    """The chunks of a track of `length` samples with speech at `speech`, in order.

    There are as many as the usual length asks for, where there are silences enough.
    """
    speech = merged(speech)
    sent = _Sent(merged(padded(speech, PADDING, length), PAUSE))
    silences = [sent.before((a.end + b.start) // 2) for a, b in _silences(speech)]
    chunks: list[Chunk] = []
    begin, before = 0, None
    left = math.ceil(sent.length / limits.usual)
    while begin < sent.length:
        cut = _next_cut(begin, sent.length, left, silences, limits)
        chunks.append(_chunk(sent, speech, begin, cut, before))
        begin, before = cut.begins, chunks[-1].after
        left -= 1
    return chunks


@dataclass(frozen=True, slots=True)
class _Cut:
    """One chunk ends at `ends`, the next one begins at `begins`, in samples sent."""

    ends: int
    begins: int
    is_silent: bool = True


def _next_cut(
    begin: int, end: int, left: int, silences: Sequence[int], limits: ChunkLimits
) -> _Cut:
    """Where the chunk that begins at `begin` ends, when about `left` more are to come."""
    rest = end - begin
    if left <= 1 and rest <= min(limits.most, _SLACK * limits.usual):
        return _Cut(end, end)
    # More than were planned, where earlier ones came out short or speech is sent twice.
    left = max(left, 2, math.ceil(rest / (_SLACK * limits.usual)), math.ceil(rest / limits.most))
    ideal = begin + max(1, min(rest // left, limits.usual))
    first = bisect_right(silences, begin)
    reachable = silences[first : bisect_right(silences, min(begin + limits.most, end - 1))]
    if not reachable and rest <= limits.most:
        return _Cut(end, end)
    if not reachable:
        half = limits.overlap // 2
        middle = min(max(ideal, begin + limits.overlap), begin + limits.most - half)
        return _Cut(middle + half, middle - half, is_silent=False)
    near = [one for one in reachable if one - begin > (ideal - begin) // 2]
    at = min(near, key=lambda one: abs(one - ideal)) if near else reachable[-1]
    return _Cut(at, at)


class _Sent:
    """Pieces of a track, one after the other, as they are sent."""

    def __init__(self, pieces: Sequence[SampleSpan]) -> None:
        self.pieces = pieces
        self.offsets = [0, *accumulate(piece.length for piece in pieces)]
        self.length = self.offsets[-1]

    def before(self, sample: int) -> int:
        """How many samples before that one of the track are sent."""
        at = bisect_right(self.pieces, sample, key=lambda piece: piece.start) - 1
        if at < 0:
            return 0
        return min(self.offsets[at] + sample - self.pieces[at].start, self.offsets[at + 1])

    def between(self, begin: int, end: int) -> tuple[SampleSpan, ...]:
        """The pieces of the track that are sent from sample to sample."""
        found = []
        for offset, piece in zip(self.offsets, self.pieces, strict=False):
            start, stop = max(begin - offset, 0), min(end - offset, piece.length)
            if start < stop:
                found.append(SampleSpan(piece.start + start, piece.start + stop))
        return tuple(found)


def _chunk(
    sent: _Sent, speech: Sequence[SampleSpan], begin: int, cut: _Cut, before: SampleSpan | None
) -> Chunk:
    pieces = sent.between(begin, cut.ends)
    after = None
    if not cut.is_silent:
        end = pieces[-1].end
        after = SampleSpan(end - (cut.ends - cut.begins), end)
    return Chunk(pieces, tuple(common(speech, pieces)), before, after)


def _silences(speech: Sequence[SampleSpan]) -> list[tuple[SampleSpan, SampleSpan]]:
    return [(a, b) for a, b in pairwise(speech) if b.start - a.end >= SHORTEST_SILENCE]
