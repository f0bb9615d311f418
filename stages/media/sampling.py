"""Selects the wanted frames of a video, by presentation time alone. Pure: opens no video.

Times are seconds as Fractions, counted from the first frame shown, so that 30000/1001 frames a
second are as exact as 25. A frame is shown from its own time until the next frame's time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil


@dataclass(frozen=True, slots=True)
class Sampling:
    """The wanted frames of a video, as a rule; `Sampler` applies it.

    With a `step` the wanted moments are `first`, `first + step`, … below `end`, and a frame is
    wanted if it is shown at such a moment: the last frame with a time at or before it. So the frame
    for a moment may begin a little before `start`, and a frame that is shown for several moments is
    wanted once. `moments`, in ascending order, replace those of the `step`. Without a `step` every
    frame is wanted whose time is in [start, end), or every keyframe of those. `end` None is the end
    of the video.
    """

    start: Fraction
    end: Fraction | None
    first: Fraction
    step: Fraction | None = None
    keyframes_only: bool = False
    max_frames: int | None = None
    moments: Sequence[Fraction] = ()


def every_frame(
    start: Fraction, end: Fraction | None, keyframes_only: bool, max_frames: int | None
) -> Sampling:
    """Each frame, or each keyframe, that begins in [start, end)."""
    return Sampling(start, end, start, None, keyframes_only, max_frames)


def at_rate(
    fps: Fraction, start: Fraction, end: Fraction | None, max_frames: int | None
) -> Sampling:
    """The frames shown at start, start + 1/fps, start + 2/fps, … below `end`."""
    return Sampling(start, end, start, 1 / fps, False, max_frames)


def evenly_spread(
    count: int,
    start: Fraction,
    end: Fraction,
    max_frames: int | None = None,
    times: Sequence[Fraction] = (),
) -> Sampling:
    """The frames shown in the middle of each of `count` equal parts of [start, end).

    The middles avoid the first and last frame, which are black in many videos. The result has fewer
    frames where fewer are shown. `times` are those of all frames, in ascending order: with them a
    frame that is shown for longer than a part, as in a gap, takes no part from others.
    """
    step = (end - start) / count
    first = start + step / 2
    even = Sampling(start, end, first, step, False, max_frames)
    spans = [
        (begin, until)
        for begin, until in pairwise([*times, end])
        if begin < until and start < until and begin < end
    ]
    clipped = [(max(begin, start), min(until, end)) for begin, until in spans]
    longest = max((until - begin for begin, until in clipped), default=Fraction(0))
    if longest <= step or _hit(even, clipped) >= min(count, len(clipped)):
        return even
    return replace(even, moments=tuple(_spread_over_frames(count, clipped)))


_Span = tuple[Fraction, Fraction]
"""The start and end of the time for which a frame is shown."""


def _hit(even: Sampling, spans: Sequence[_Span]) -> int:
    """The number of wanted frames among those with these spans."""
    sampler = Sampler(replace(even, max_frames=None))
    return sum(sampler.wants(begin, until, False) for begin, until in spans)


def _spread_over_frames(count: int, spans: Sequence[_Span]) -> Iterator[Fraction]:
    """The middles of `count` parts of the time that is left if no frame counts for more than one.

    So there are as many moments as parts, or as frames if those are fewer, each in another frame.
    """
    part = _largest_part(count, sorted((until - begin for begin, until in spans), reverse=True))
    passed, middle = Fraction(0), part / 2
    for begin, until in spans:
        counted = min(until - begin, part)
        if middle < passed + counted:
            yield begin + middle - passed
            middle += part
        passed += counted


def _largest_part(count: int, spans: Sequence[Fraction]) -> Fraction:
    """The length of the `count` parts, where each span counts for no more than one part.

    `spans` are in descending order. With `count` spans or fewer, each is a part.
    """
    rest = sum(spans, Fraction(0))
    for longer, span in enumerate(spans[:count]):
        if span * (count - longer) <= rest:
            return rest / (count - longer)
        rest -= span
    return spans[-1]


class Sampler:
    """Goes through the frames of one video in presentation order and selects the wanted ones."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._moment = sampling.first
        self._left = sampling.max_frames
        self.finished = False
        """Whether no later frame can be wanted."""

    def wants(self, time: Fraction, until: Fraction, keyframe: bool) -> bool:
        """Whether the frame shown from `time` until `until` is wanted.

        Call it once a frame, in presentation order: neither time may go back.
        """
        if self.finished:
            return False
        wanted = self._is_due(time, until, keyframe)
        if wanted and self._left is not None:
            self._left -= 1
            self.finished = self.finished or self._left == 0
        return wanted

    def _is_due(self, time: Fraction, until: Fraction, keyframe: bool) -> bool:
        sampling = self._sampling
        if sampling.step is None:
            self.finished = sampling.end is not None and time >= sampling.end
            inside = time >= sampling.start and not self.finished
            return inside and (keyframe or not sampling.keyframes_only)
        moment = self._first_moment_from(time, sampling.step)
        self.finished = moment is None
        due = moment is not None and moment < until
        if due:
            self.finished = self._first_moment_from(until, sampling.step) is None
        return due

    def _first_moment_from(self, time: Fraction, step: Fraction) -> Fraction | None:
        """The first wanted moment at or after that time; None if none is left."""
        sampling = self._sampling
        if sampling.moments:
            at = bisect_left(sampling.moments, time)
            return sampling.moments[at] if at < len(sampling.moments) else None
        if time > self._moment:
            self._moment = sampling.first + ceil((time - sampling.first) / step) * step
        ended = sampling.end is not None and self._moment >= sampling.end
        return None if ended else self._moment


def choose(
    sampling: Sampling, times: Sequence[Fraction], keyframes: Iterable[bool], end: Fraction
) -> list[int]:
    """The indices of the wanted frames of a video with these frames.

    `times` are the frames' in ascending order, `keyframes` says which of them are keyframes, and
    `end` is the time until which the last one is shown.
    """
    sampler = Sampler(sampling)
    chosen = []
    for index, (time, keyframe) in enumerate(zip(times, keyframes, strict=True)):
        until = times[index + 1] if index + 1 < len(times) else end
        if sampler.wants(time, until, keyframe):
            chosen.append(index)
        if sampler.finished:
            break
    return chosen


def exact_seconds(seconds: float) -> Fraction:
    """The exact value of a number that a person typed: 0.1 is a tenth, not
    the nearest binary fraction."""
    return Fraction(str(seconds))


def rounded(seconds: Fraction) -> float:
    """Seconds to the microsecond, as the files state them."""
    return round(float(seconds), 6)
