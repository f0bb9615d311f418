"""Which frames of a video are wanted, by presentation time alone. Pure: no video is opened here.

Times are seconds as Fractions, counted from the first frame shown, so that 30000/1001 frames a
second are as exact as 25. A frame is shown from its own time until the next frame's time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is wanted of a video; `Sampler` carries it out.

    With a `step` the wanted moments are `first`, `first + step`, … below `end`, and a frame is
    wanted if it is the one being shown at such a moment: the last frame with a time at or before
    it. So the frame for a moment may begin a little before `start`, and a frame that is shown for
    several moments is wanted once. Without a `step` every frame is wanted whose time is in
    [start, end), or every keyframe of those. `end` None is the end of the video.
    """

    start: Fraction
    end: Fraction | None
    first: Fraction
    step: Fraction | None = None
    keyframes_only: bool = False
    max_frames: int | None = None


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
    count: int, start: Fraction, end: Fraction, max_frames: int | None = None
) -> Sampling:
    """The frames shown in the middle of each of `count` equal parts of [start, end).

    The middles keep clear of the first and last frame, which are black in many videos. Fewer frames
    come of it where fewer are shown.
    """
    step = (end - start) / count
    return Sampling(start, end, start + step / 2, step, False, max_frames)


class Sampler:
    """Goes through the frames of one video in presentation order and says which are wanted."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._moment = sampling.first
        self._left = sampling.max_frames
        self.finished = False
        """No later frame can be wanted."""

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
        self._moment = self._first_moment_from(time, sampling.step)
        due = self._moment < until
        if sampling.end is not None and self._moment >= sampling.end:
            self.finished = True
            return False
        if due:
            self._moment = self._first_moment_from(until, sampling.step)
            self.finished = sampling.end is not None and self._moment >= sampling.end
        return due

    def _first_moment_from(self, time: Fraction, step: Fraction) -> Fraction:
        if time <= self._moment:
            return self._moment
        return self._sampling.first + ceil((time - self._sampling.first) / step) * step


def choose(
    sampling: Sampling, times: Sequence[Fraction], keyframes: Iterable[bool], end: Fraction
) -> list[int]:
    """The indices of the frames that are wanted of a video with these frames.

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
