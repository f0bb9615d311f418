"""Plans which packets of a video have to be decoded for the wanted frames.

Decoding is the main cost of extraction, and most of it is for frames that nobody wants. Two things
can be left out without changing a pixel of the rest: frames that no other frame refers to, and
packets between the last wanted frame and the next point where the decoder starts afresh. AV1 names
the references of each frame, so every frame can be left out that no wanted frame depends on. Where
only keyframes are wanted, only keyframes are decoded.

Where packets do not give the frames' times for sure, the whole video is decoded to learn them.
"""

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from stages.media.clocks import Clock, FrameTimeline, PacketClock, TimelineClock
from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS
from stages.media.video import read_timeline

_WORTHWHILE = 6
"""The least work in a segment, in frames decoded, that is worth opening the file once more. One
picture is enough: smaller parts keep the threads evenly at work until the end."""

_PICTURE = 6
"""The cost of scaling and writing one picture, in frames decoded."""

KEYFRAME_RESETS = {"vp8", "vp9", "av1"}
"""Codecs in which nothing after a keyframe depends on anything before it."""

NONREF_SAFE = {"h264", "hevc"}
"""Codecs whose decoder gives unchanged frames if it skips non-reference frames: such frames are
marked in the packet's header and nothing is predicted from them, not even entropy state."""

INTRA_KEYFRAMES = {"hevc", "mpeg4", "mpeg2video", "mjpeg"}
"""Codecs whose decoder takes one keyframe after another, if they are I-frames, resets or not."""


class PacketFlag:
    """Bits of a packet's flags: plain numbers, since an IntFlag takes ten times as long to test."""

    KEYFRAME: Final = 1
    RESET: Final = 2
    """Nothing after this packet depends on anything before it."""
    HIDDEN: Final = 4
    """Not shown: an edit list cuts it off, or it refers to frames before the beginning."""


class Action(IntEnum):
    SKIP = 0
    """The decoder does not get the packet."""
    REFERENCE = 1
    """Decode it if other frames refer to it."""
    DECODE = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Packets that can be decoded independently: those from `first` on, one per action."""

    first: int
    actions: Sequence[Action]
    wanted: Sequence[int]
    """The times of the segment's wanted frames, in ticks, ascending."""


@dataclass(slots=True)
class PacketTable:
    """The packets of a video stream in decoding order; times in ticks of its time base.

    It keeps up to 23 bytes a packet, so that ten hours of video take some 25 MB.
    """

    codec: str
    time_base: Fraction
    frame_duration: int
    """A frame's length at the average rate; used where the packets give none."""
    declared_duration: Fraction | None = None
    """The length in seconds in the file's header."""
    origin: int | None = None
    """The stream's first presentation time, None where only its frames tell."""
    seek: int | None = None
    """The position to seek to before reading the packets, None to read from the beginning."""
    ordered: bool = True
    """Every packet has a presentation time of its own, none runs back, and none is in doubt."""
    timeline: FrameTimeline | None = None
    """The frames' times, where the packets do not give them: if they are not `ordered`."""
    intact: bool = True
    """No packet is known to be incomplete."""
    steady: bool = True
    """No packet brings parameters that later ones may need, so any of them may be left out."""
    seekable: bool = False
    """The container stores the time and the place of each keyframe."""
    complete: bool = True
    """The packets were read up to the last."""
    max_pixels: int = MOST_PIXELS
    """Size in pixels of the largest frame that is decoded."""
    intra_only: bool = False
    """The codec has only keyframes."""
    times: "array[int]" = field(default_factory=lambda: array("q"))
    durations: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    flags: bytearray = field(default_factory=bytearray)
    reads: bytearray = field(default_factory=bytearray)
    """For AV1, the decoder's slots that the packet's frames refer to, bit i for slot i. Empty where
    only keyframes are wanted."""
    writes: bytearray = field(default_factory=bytearray)
    """For AV1, the slots that they replace. As long as `reads`."""
    layered: bool = False
    """There are temporal layers: their frames may refer to frames that are
    no references within a layer."""

    def seconds(self, ticks: int) -> Fraction:
        """The second of a time in ticks; a time before the first frame counts as 0."""
        return max(Fraction(0), (ticks - (self.origin or 0)) * self.time_base)

    def shown(self) -> list[int]:
        """The packets that are shown, by index, in the order of their presentation times."""
        shown = (i for i, flag in enumerate(self.flags) if not flag & PacketFlag.HIDDEN)
        return sorted(shown, key=self.times.__getitem__)

    def shown_times(self) -> list[Fraction]:
        """The time of each frame in seconds, ascending."""
        if self.timeline:
            return self.timeline.times()
        return [self.seconds(self.times[i]) for i in self.shown()]

    def longest_shown(self) -> Fraction:
        """The longest time that a frame is shown, in seconds."""
        ticks = (
            self.timeline.shown.ticks if self.timeline else [self.times[i] for i in self.shown()]
        )
        if not ticks:
            return Fraction(0)
        longest = max((b - a for a, b in pairwise(ticks)), default=0) * self.time_base
        last = self.timeline.seconds(ticks[-1]) if self.timeline else self.seconds(ticks[-1])
        return max(longest, self.end() - last)

    def keyframe_times(self) -> set[int]:
        return {self.times[i] for i in self.shown() if self.flags[i] & PacketFlag.KEYFRAME}

    @property
    def keyframes_told(self) -> bool:
        """Whether the container marks the keyframes. Some mark none, and some mark all."""
        marked = [flag for flag in self.flags if flag & PacketFlag.KEYFRAME]
        if len(marked) < len(self.flags):
            return bool(marked)
        resets = all(flag & PacketFlag.RESET for flag in marked)
        return resets or self.intra_only or len(marked) == 1

    def end(self) -> Fraction:
        """The second until which the last frame is shown: the video's length."""
        if self.timeline:
            return self.timeline.end()
        *_, before, last = [-1, -1, *self.shown()]
        if last < 0:
            return Fraction(0)
        gap = self.times[last] - self.times[before] if before >= 0 else self.frame_duration
        return self.seconds(self.times[last] + (self.durations[last] or gap))

    def clock(self, damage: Damage, from_beginning: bool) -> Clock:
        """The clock for the decoder's frames, all or some, on the table's time."""
        if self.timeline:
            return TimelineClock(self.timeline, damage)
        return PacketClock(self.time_base, self.origin or 0, self.frame_duration, from_beginning)

    def learn_times(self, path: Path) -> None:
        """Take the frames' times from the decoder, not from the packets."""
        self.timeline = read_timeline(path, self.max_pixels)
        self.ordered = False
        self.origin = None

    def first_needed(self, start: Fraction) -> int:
        """The index of the packet from which decoding gives every frame shown after `start`."""
        if not (self.ordered and self.intact and self.steady):
            return 0
        resets = (i for i in range(len(self.flags) - 1, 0, -1) if self.flags[i] & PacketFlag.RESET)
        return next((i for i in resets if self.seconds(self.times[i]) <= start), 0)

    def plan(self, wanted: Collection[int]) -> list[Action] | None:
        """The action for each packet, up to the last needed one, to get the frames with these
        times.

        None where the codec or the timestamps require decoding everything.
        """
        if not (self.ordered and self.intact and self.steady):
            return None
        if not self.keyframes_told and not (
            self.codec in INTRA_KEYFRAMES and self.keyframe_times()
        ):
            return None  # decoding checks that each of them really stands alone
        if self.only_keyframes(wanted):
            actions = [Action.DECODE if time in wanted else Action.SKIP for time in self.times]
        elif self.reads:
            actions = self._plan_by_references(wanted)
        elif self.codec in NONREF_SAFE | KEYFRAME_RESETS:
            actions = self._plan_by_groups(wanted)
        else:
            return None
        while actions and actions[-1] == Action.SKIP:
            actions.pop()
        return actions

    def _plan_by_groups(self, wanted: Collection[int]) -> list[Action]:
        skippable = self.codec in NONREF_SAFE and not self.layered
        rest = Action.REFERENCE if skippable else Action.DECODE
        actions = [Action.SKIP] * len(self.times)
        needed = False
        for index in reversed(range(len(self.times))):
            if self._is_wanted(index, wanted):
                actions[index] = Action.DECODE
                needed = True
            elif needed:
                actions[index] = rest
            if self.flags[index] & PacketFlag.RESET:
                needed = False
        return actions

    def _plan_by_references(self, wanted: Collection[int]) -> list[Action]:
        actions = [Action.SKIP] * len(self.times)
        needed = 0  # the slots whose content is still needed
        for index in reversed(range(len(self.times))):
            if self._is_wanted(index, wanted) or self.writes[index] & needed:
                actions[index] = Action.DECODE
                needed = needed & ~self.writes[index] | self.reads[index]
            if self.flags[index] & PacketFlag.RESET:
                needed = 0
        return actions

    def _is_wanted(self, index: int, wanted: Collection[int]) -> bool:
        return self.times[index] in wanted and not self.flags[index] & PacketFlag.HIDDEN

    def segments(self, actions: Sequence[Action], wanted: Collection[int]) -> list[Segment]:
        """These actions in independent parts, each with enough work for a thread."""
        cuts, work = [0], 0
        for index, action in enumerate(actions):
            if work >= _WORTHWHILE and self.flags[index] & PacketFlag.RESET:
                cuts.append(index)
                work = 0
            if action != Action.SKIP:
                work += _PICTURE if self.times[index] in wanted else 1
        return [self._segment(*ends, actions, wanted) for ends in pairwise([*cuts, len(actions)])]

    def _segment(
        self, first: int, end: int, actions: Sequence[Action], wanted: Collection[int]
    ) -> Segment:
        times = [self.times[i] for i in range(first, end) if self._is_wanted(i, wanted)]
        start = next((i for i in range(first, end) if actions[i] != Action.SKIP), first)
        while end > start and actions[end - 1] == Action.SKIP:
            end -= 1  # skipped packets before the next segment are not even read
        if not self.flags[start] & PacketFlag.RESET:
            start = first
        return Segment(start, actions[start:end], sorted(times))

    def only_keyframes(self, wanted: Collection[int]) -> bool:
        """Whether these frames are all keyframes, of a codec whose keyframes stand alone."""
        return self.codec in INTRA_KEYFRAMES and self.keyframe_times().issuperset(wanted)
