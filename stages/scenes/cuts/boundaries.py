"""Where scenes begin and end, given where a detector cuts: as the frames pass. Pure.

Times are seconds as Fractions, counted from the first frame shown; frames are numbered from 0 in
the order in which they are shown.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Scene:
    """The frames from `first` to before `after`, shown from second `start` to before `end`."""

    index: int
    first: int
    after: int
    start: Fraction
    end: Fraction


class Boundaries:
    """Makes scenes of cuts, each cut the second at which a new scene begins.

    A scene in which nothing is cut ends at `max_length` seconds, unless a cut, or the video's end,
    comes within `min_length` after that. One that is shorter than `min_length` belongs to the one
    before it, or, where that has been handed on, to the one after it. So a scene is known to be
    whole only once the next one has lasted `min_length`.
    """

    def __init__(self, min_length: Fraction, max_length: Fraction | None = None) -> None:
        self._min = min_length
        self._max = max_length
        self.first = 0
        """The number of the open scene's first frame."""
        self._times: list[Fraction] = []
        """The times of its frames."""
        self._held: Scene | None = None
        """The scene before it, which may still grow."""
        self._made = 0

    def frame(self, time: Fraction, cuts: Iterable[Fraction] = ()) -> Iterator[Scene]:
        """The next frame is shown at `time`, and the detector tells of cuts there or before.
        Yields the scenes that are whole now, in order."""
        self._times.append(time)
        for cut in sorted(cuts):
            yield from self._cut(nearest(self._times, cut))
        length = self._times[-1] - self._times[0]
        if self._max is not None and length >= self._max + self._min:
            yield from self._cut(bisect_left(self._times, self._times[0] + self._max))
            length = self._times[-1] - self._times[0]
        if length >= self._min:
            yield from self._release()

    def end(self, time: Fraction, cuts: Iterable[Fraction] = ()) -> Iterator[Scene]:
        """The last frame is shown until `time`; `cuts` are those that are known only now. Yields
        the scenes that are left."""
        for cut in sorted(cuts):
            yield from self._cut(nearest(self._times, cut))
        if self._times:
            self._times.append(time)
            yield from self._cut(len(self._times) - 1, last=True)
        yield from self._release()

    def _cut(self, at: int, *, last: bool = False) -> Iterator[Scene]:
        """The open scene ends before its frame `at`, if that is not its first."""
        start, end, after = self._times[0], self._times[at], self.first + at
        is_short = end - start < self._min
        if not at or (is_short and self._held is None and not last):
            return
        if self._held is not None and is_short:
            self._held = replace(self._held, after=after, end=end)
        else:
            yield from self._release()
            self._held = Scene(self._made, self.first, after, start, end)
        self.first = after
        del self._times[:at]

    def _release(self) -> Iterator[Scene]:
        if self._held is not None:
            yield self._held
            self._held = None
            self._made += 1


def nearest(times: Sequence[Fraction], second: Fraction) -> int:
    """The index of the time nearest to that second, the earlier of two; `times` ascend."""
    at = bisect_left(times, second)
    if at and (at == len(times) or second - times[at - 1] <= times[at] - second):
        return at - 1
    return at
