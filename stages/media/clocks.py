"""The times of decoded frames: from their packets, or from a timeline learnt by decoding all."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from stages.media.damage import Damage
from stages.media.frame_times import ShownTimes

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MOST_MISSING = 64
"""The most frames that a match skips, where some frames do not decode again."""


class Clock(Protocol):
    """Gives the time of each frame. Ask it once per frame, in the decoder's order."""

    def place(self, frame: "VideoFrame") -> Fraction:
        """The second at which the frame begins to be shown: never before
        that of the frame before."""

    def end(self) -> Fraction:
        """The second until which the last placed frame is shown, if no other follows."""

    def seconds(self, stamp: int) -> Fraction:
        """The approximate second of a timestamp in ticks."""


class OutOfStepError(Exception):
    """The decoded frames, or their order, differ from what the packets say."""


class PacketClock:
    """Places frames by their presentation timestamps, which are known to be in order.

    `origin` is the tick at which the first frame is shown; `from_beginning` says that the decoder
    starts with that frame. `frame_duration` serves where no better duration is known.
    """

    def __init__(
        self, time_base: Fraction, origin: int, frame_duration: int, from_beginning: bool
    ) -> None:
        self._time_base = time_base
        self._origin = origin
        self._frame_duration = frame_duration
        self._at_beginning = from_beginning
        self._latest: int | None = None
        self._length = frame_duration

    def place(self, frame: "VideoFrame") -> Fraction:
        """Raises OutOfStepError."""
        stamp = frame.pts
        if stamp is None:
            raise OutOfStepError("a frame has no presentation time")
        if self._at_beginning and stamp > self._origin:
            raise OutOfStepError("the first frames do not decode")
        if self._latest is not None and stamp < self._latest:
            raise OutOfStepError("the frames come in another order")
        gap = 0 if self._latest is None else stamp - self._latest
        self._length = frame.duration or gap or self._frame_duration
        self._latest = stamp
        self._at_beginning = False
        return self.seconds(stamp)

    def end(self) -> Fraction:
        return self.seconds((self._latest or 0) + self._length)

    def seconds(self, stamp: int) -> Fraction:
        """The second of the timestamp; one before the first frame counts as 0."""
        return max(Fraction(0), (stamp - self._origin) * self._time_base)


@dataclass(frozen=True, slots=True)
class FrameTimeline:
    """The times of a video's frames, learnt by decoding all of it.

    For videos whose packets have timestamps that are missing, contradictory, or in another order
    than the frames.
    """

    time_base: Fraction
    stamps: Sequence[int | None]
    """The frames' own presentation timestamps in ticks: a frame is recognised by them."""
    shown: ShownTimes
    last_duration: int
    """Duration of the last frame in ticks."""

    def times(self) -> list[Fraction]:
        """The seconds at which the frames are shown. The first is 0."""
        return [self.seconds(ticks) for ticks in self.shown.ticks]

    def seconds(self, ticks: int) -> Fraction:
        return (ticks - self.shown.ticks[0]) * self.time_base

    def end(self) -> Fraction:
        """The second until which the last frame is shown: the video's length."""
        if not self.shown.ticks:
            return Fraction(0)
        return self.seconds(self.shown.ticks[-1] + self.last_duration)


class TimelineClock:
    """Places frames by a timeline, and records each repair in `damage`."""

    def __init__(self, timeline: FrameTimeline, damage: Damage) -> None:
        self._timeline = timeline
        self._damage = damage
        self._next = 0

    def place(self, frame: "VideoFrame") -> Fraction:
        timeline, shown = self._timeline, self._timeline.shown
        if not shown.ticks:
            return Fraction(0)
        # Some frames may decode only now, and others only when the timeline was made.
        ahead = timeline.stamps[self._next : self._next + _MOST_MISSING]
        if frame.pts is not None and frame.pts in ahead:
            self._next += ahead.index(frame.pts)
        this = min(self._next, len(shown.ticks) - 1)
        self._next = this + 1
        time = timeline.seconds(shown.ticks[this])
        if this in shown.restarts:
            self._damage.count("jump back in the timestamps", "jumps back in the timestamps", time)
        if this in shown.disbelieved:
            self._damage.count(
                "timestamp contradicts those around it, and is not believed",
                "timestamps contradict those around them, and are not believed",
                time,
            )
        return time

    def end(self) -> Fraction:
        ticks = self._timeline.shown.ticks
        return (
            self._timeline.seconds(ticks[self._next])
            if self._next < len(ticks)
            else (self._timeline.end())
        )

    def seconds(self, stamp: int) -> Fraction:
        """The time of the last placed frame: the stamp may be one that was rejected."""
        del stamp
        ticks = self._timeline.shown.ticks
        return self._timeline.seconds(ticks[max(0, self._next - 1)]) if ticks else Fraction(0)
