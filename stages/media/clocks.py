"""What says when each decoded frame is shown: its packet, or a timeline learnt from all frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from stages.media.damage import Damage
from stages.media.frame_times import ShownTimes

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MOST_MISSING = 64
"""Frames in a row among which the next one is looked for, where some do not decode again."""


class Clock(Protocol):
    """Says when each frame is shown. It is asked once for each, in the order of the decoder."""

    def place(self, frame: "VideoFrame") -> Fraction:
        """The second from which on the frame is shown: never before that of the frame before."""

    def end(self) -> Fraction:
        """The second until which the frame placed last is shown, if no other follows."""

    def seconds(self, stamp: int) -> Fraction:
        """When about that is shown what has this timestamp, in ticks."""


class OutOfStepError(Exception):
    """The frames are not those, or not in the order, that the packets promise."""


class PacketClock:
    """Places frames by their presentation timestamps, which are known to be in order.

    `origin` is the tick at which the first frame is shown, and `from_beginning` says that it is
    this one that the decoder gives first. `frame_duration` is for want of a better one.
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
        """What comes before the first frame is shown at once."""
        return max(Fraction(0), (stamp - self._origin) * self._time_base)


@dataclass(frozen=True, slots=True)
class FrameTimeline:
    """When the frames of a video are shown, learnt by decoding all of it.

    For where packets cannot tell: their timestamps are missing, contradict each other, or are in
    another order than the frames.
    """

    time_base: Fraction
    stamps: Sequence[int | None]
    """The frames' presentation timestamps as they are, in ticks: by these a frame is recognised."""
    shown: ShownTimes
    last_duration: int
    """How long the last frame is shown, in ticks."""

    def times(self) -> list[Fraction]:
        """The seconds at which the frames are shown. The first is 0."""
        return [self.seconds(ticks) for ticks in self.shown.ticks]

    def seconds(self, ticks: int) -> Fraction:
        return (ticks - self.shown.ticks[0]) * self.time_base

    def end(self) -> Fraction:
        """Until when the last frame is shown, in seconds: the video's length."""
        if not self.shown.ticks:
            return Fraction(0)
        return self.seconds(self.shown.ticks[-1] + self.last_duration)


class TimelineClock:
    """Places frames as a timeline says, and notes in `damage` what had to be mended for that."""

    def __init__(self, timeline: FrameTimeline, damage: Damage) -> None:
        self._timeline = timeline
        self._damage = damage
        self._next = 0

    def place(self, frame: "VideoFrame") -> Fraction:
        timeline, shown = self._timeline, self._timeline.shown
        if not shown.ticks:
            return Fraction(0)
        # Frames that came when the timeline was made may be missing now, and the other way round.
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
        """The time of the frame placed last: the stamp may be one that is not believed."""
        del stamp
        ticks = self._timeline.shown.ticks
        return self._timeline.seconds(ticks[max(0, self._next - 1)]) if ticks else Fraction(0)
