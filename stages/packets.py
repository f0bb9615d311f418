"""Which packets of a video have to be decoded for the frames that are wanted; decoding only those.

Decoding is what extraction costs, and most of it is for frames that nobody wants. Two things can
be left out without changing a pixel of the rest: frames that no other frame refers to, and whatever
lies between the last wanted frame and the next point where the decoder starts afresh. Where only
keyframes are wanted, nothing else is decoded.
"""

import re
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stages.media import Damage, UndecodableError, Video, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SEEK_FROM = 10
"""The `start`, in seconds, from which on a seek is worth its risks."""

_SEEKABLE = {"mov", "matroska"}
"""Containers, by FFmpeg's names, that store when each keyframe is shown."""

_HEAD = 32
"""Packets among which the frame that is shown first must be: codecs reorder 16 at most."""

NONREF_SAFE = {"h264", "hevc"}
"""Codecs whose decoder, told to skip non-reference frames, gives the others unchanged: they mark
such frames in the packet's header and predict nothing, not even entropy state, from them."""

KEYFRAME_RESETS = {"vp8", "vp9", "av1"}
"""Codecs in which nothing after a keyframe depends on anything before it."""

INTRA_KEYFRAMES = {"hevc", "mpeg4", "mpeg2video", "mjpeg"}
"""Codecs whose decoder takes one keyframe after another, if they are I-frames, resets or not."""

_SLICES = {"h264": range(1, 6), "hevc": range(32)}
_RESETTING_SLICES = {"h264": {5}, "hevc": {19, 20}}  # instantaneous decoder refresh (IDR)


class Flag(IntFlag):
    KEYFRAME = 1
    RESET = 2
    """Nothing after this packet depends on anything before it."""
    HIDDEN = 4
    """Decoded but not shown: an edit list cuts it off."""


class Action(IntEnum):
    SKIP = 0
    """The decoder does not get the packet."""
    REFERENCE = 1
    """Decode it if other frames refer to it."""
    DECODE = 2


@dataclass(slots=True)
class PacketTable:
    """The packets of a video stream in decoding order; times in ticks of its time base.

    It keeps 17 bytes a packet, so that ten hours of video take some 20 MB.
    """

    codec: str
    time_base: Fraction
    frame_duration: int
    """A frame's length at the average rate, for where the packets do not tell."""
    declared_duration: Fraction | None = None
    """The length in seconds that the file's header states."""
    origin: int | None = None
    """The stream's first presentation time, None where only its frames can tell."""
    seek: int | None = None
    """Where to seek to before reading the packets, None to read from the beginning."""
    ordered: bool = True
    """Every packet has a presentation time of its own, and none runs back."""
    intact: bool = True
    """No packet is known to be incomplete."""
    complete: bool = True
    """The packets were read up to the last."""
    times: "array[int]" = field(default_factory=lambda: array("q"))
    durations: "array[int]" = field(default_factory=lambda: array("q"))
    flags: bytearray = field(default_factory=bytearray)
    layered: bool = False
    """There are temporal layers, whose frames may refer to what is no reference within a layer."""

    def seconds(self, ticks: int) -> Fraction:
        """When that is shown, in seconds; what comes before the first time is shown at once."""
        return max(Fraction(0), (ticks - (self.origin or 0)) * self.time_base)

    def shown(self) -> list[int]:
        """The packets that are shown, by index, in the order of their presentation times."""
        shown = (i for i, flag in enumerate(self.flags) if not flag & Flag.HIDDEN)
        return sorted(shown, key=self.times.__getitem__)

    def keyframe_times(self) -> set[int]:
        return {self.times[i] for i in self.shown() if self.flags[i] & Flag.KEYFRAME}

    def end(self) -> Fraction:
        """Until when the last frame is shown, in seconds: the video's length."""
        if not self.ordered:
            total = sum(duration or self.frame_duration for duration in self.durations)
            return total * self.time_base
        *_, before, last = [-1, -1, *self.shown()]
        if last < 0:
            return Fraction(0)
        gap = self.times[last] - self.times[before] if before >= 0 else self.frame_duration
        return self.seconds(self.times[last] + (self.durations[last] or gap))

    def first_needed(self, start: Fraction) -> int:
        """The index of the packet from which on decoding gives every frame shown after `start`."""
        resets = (i for i in range(len(self.flags) - 1, 0, -1) if self.flags[i] & Flag.RESET)
        before = (i for i in resets if self.seconds(self.times[i]) <= start)
        return next(before, 0) if self.ordered else 0

    def plan(self, wanted: Collection[int]) -> list[Action] | None:
        """What to do with each packet, up to the last needed, to get the frames with these times.

        None where the codec or the timestamps leave no choice but to decode all of it.
        """
        if not self.ordered or not self.intact:
            return None
        if self.only_keyframes(wanted):
            return self._without_the_rest(
                [Action.DECODE if time in wanted else Action.SKIP for time in self.times]
            )
        if self.codec not in NONREF_SAFE | KEYFRAME_RESETS:
            return None
        skippable = self.codec in NONREF_SAFE and not self.layered
        rest = Action.REFERENCE if skippable else Action.DECODE
        actions = [Action.SKIP] * len(self.times)
        needed = False
        for index in reversed(range(len(self.times))):
            if self.times[index] in wanted and not self.flags[index] & Flag.HIDDEN:
                actions[index] = Action.DECODE
                needed = True
            elif needed:
                actions[index] = rest
            if self.flags[index] & Flag.RESET:
                needed = False
        return self._without_the_rest(actions)

    def only_keyframes(self, wanted: Collection[int]) -> bool:
        """Whether these frames are all keyframes, of a codec in which those stand alone."""
        return self.codec in INTRA_KEYFRAMES and self.keyframe_times().issuperset(wanted)

    def _without_the_rest(self, actions: list[Action]) -> list[Action] | None:
        while actions and actions[-1] == Action.SKIP:
            actions.pop()
        return None if actions == [Action.DECODE] * len(self.times) else actions


def first_slice(codec: str, data: bytes, extradata: bytes | None) -> int:
    """The 16-bit header of the first slice in a packet of H.264 or HEVC; 0 if there is none."""
    for header in _unit_headers(data, codec, extradata):
        if _unit_type(codec, header) in _SLICES[codec]:
            return header
    return 0


def is_reset(codec: str, header: int) -> bool:
    """Whether the decoder starts afresh at a slice with this header.

    In H.264 and HEVC what a container marks as a keyframe may also be a mere entry point, before
    which later frames still reach back (ITU-T H.264 table 7-1, H.265 table 7-1).
    """
    return _unit_type(codec, header) in _RESETTING_SLICES[codec]


def _unit_type(codec: str, header: int) -> int:
    return header >> 8 & 0x1F if codec == "h264" else header >> 9 & 0x3F


def _unit_headers(data: bytes, codec: str, extradata: bytes | None) -> Iterator[int]:
    """The first two bytes of each NAL unit in the packet."""
    if not extradata or extradata[0] != 1:  # ITU-T H.264 annex B: units after start codes
        for match in re.finditer(rb"\x00\x00\x01(..)", data, re.DOTALL):
            yield int.from_bytes(match[1], "big")
        return
    # ISO/IEC 14496-15: units after their lengths, whose size the decoder configuration tells.
    size_at = 4 if codec == "h264" else 21
    size = (extradata[size_at] & 3) + 1 if len(extradata) > size_at else 4
    position = 0
    while position + size < len(data):
        unit = position + size
        yield int.from_bytes(data[unit : unit + 2], "big")
        position = unit + int.from_bytes(data[position:unit], "big")


class ShortcutError(Exception):
    """Decoding only what is needed did not give exactly the frames that were asked for."""


def scan_video(
    path: Path, damage: Damage, start: Fraction = Fraction(0), end: Fraction | None = None
) -> PacketTable:
    """Read the packets, decoding none, that matter for what is shown from `start` until `end`.

    Raises Permanent as `open_video` does.
    """
    table = _scan_after_seek(path, start, end) if start >= SEEK_FROM else None
    if table is None:
        with open_video(path) as video:
            table = _scan(video, damage, end)
            _note_missing_end(table, damage)
    return table


def _scan_after_seek(path: Path, start: Fraction, end: Fraction | None) -> PacketTable | None:
    """Read from the keyframe before `start`; None where that is not sure to give the same frames.

    Some files decode well from their beginning and give garbage after a seek.
    """
    import av

    damage = Damage()
    with open_video(path) as video:
        if not _SEEKABLE & set(video.container.format.name.split(",")):
            return None
        origin = _scan(video, damage, Fraction(0)).origin
        if origin is None:
            return None
        target = origin + int(start / video.time_base)
        try:
            video.seek(target)
        except av.FFmpegError:
            return None
        table = _scan(video, damage, end, origin)
    if not table.times or not table.ordered or damage.sentences():
        return None
    table.seek = target
    return table if table.flags[0] & Flag.RESET and table.times[0] <= target else None


def _scan(
    video: Video, damage: Damage, end: Fraction | None, origin: int | None = None
) -> PacketTable:
    table = PacketTable(
        video.codec, video.time_base, video.frame_duration, video.declared_duration, origin
    )
    extradata = video.stream.codec_context.extradata
    head: list[int] = []
    latest: int | None = None
    for packet in video.packets(damage):
        header = 0
        if video.codec == "hevc" or (video.codec == "h264" and packet.is_keyframe):
            header = first_slice(video.codec, bytes(packet), extradata)
        flag = _flags(packet, video.codec, header)
        table.layered = table.layered or (video.codec == "hevc" and header & 7 > 1)
        runs_back = packet.dts is not None and latest is not None and packet.dts < latest
        if packet.pts is None or runs_back:
            table.ordered = False
        table.intact = table.intact and not packet.is_corrupt
        table.times.append(packet.pts or 0)
        table.durations.append(packet.duration or 0)
        table.flags.append(flag)
        latest = packet.dts if packet.dts is not None else latest
        # A decoder starts with the first keyframe, though frames shown before it may follow.
        if len(head) < _HEAD and not flag & Flag.HIDDEN and (head or flag & Flag.KEYFRAME):
            head.append(packet.pts or 0)
            if len(head) == _HEAD and origin is None:
                table.origin = min(head)
        if latest is None or table.origin is None or not table.ordered:
            continue
        # No frame is shown before it is decoded: what follows is shown after `end`.
        if end is not None and table.seconds(latest) >= end:
            table.complete = False
            break
    times = [table.times[index] for index in table.shown()]
    table.ordered = table.ordered and len(set(times)) == len(times)
    if not table.ordered:
        table.origin = None
    elif table.origin is None:
        table.origin = min(head or times, default=0)
    return table


def _flags(packet: "Packet[VideoStream]", codec: str, header: int) -> Flag:
    flags = Flag.HIDDEN if packet.is_discard else Flag(0)
    if packet.is_keyframe:
        flags |= Flag.KEYFRAME
        if codec in KEYFRAME_RESETS or (codec in _SLICES and is_reset(codec, header)):
            flags |= Flag.RESET
    return flags


def _note_missing_end(table: PacketTable, damage: Damage) -> None:
    declared = table.declared_duration
    if declared is None or not table.complete or not table.ordered:
        return
    end = table.end()
    if declared - end > max(Fraction(1), declared / 20):
        damage.notes.append(
            f"the video ends at {float(end):.1f} s although its header says"
            f" {float(declared):.1f} s: the file may be cut off"
        )


def decode_needed(
    video: Video, table: PacketTable, wanted: Collection[int]
) -> Iterator[tuple["VideoFrame", int]]:
    """The frames with these presentation times, in that order, each with its time in ticks.

    Each is what decoding everything would give, to the pixel. Raises ShortcutError as soon as that
    is not sure: the codec has no safe shortcut, a packet is damaged, or a frame does not come.
    """
    from av.video.frame import PictureType

    actions = table.plan(wanted)
    if actions is None:
        raise ShortcutError("this stream has to be decoded whole")
    keyframes_alone = table.only_keyframes(wanted)
    if table.seek is not None:
        video.seek(table.seek)
    context = video.stream.codec_context
    missing = sorted(wanted, reverse=True)
    for packet, action in _planned_packets(video, table, actions):
        context.skip_frame = "NONREF" if action == Action.REFERENCE else "DEFAULT"
        try:
            frames = video.decode(packet)
        except UndecodableError as error:
            raise ShortcutError(f"damaged: {error}") from error
        for frame in frames:
            if frame.is_corrupt:
                raise ShortcutError("a frame is damaged")
            if frame.pts in wanted:
                if not missing or frame.pts != missing.pop():
                    raise ShortcutError("the frames come in another order")
                if keyframes_alone and frame.pict_type != PictureType.I:
                    raise ShortcutError("a keyframe refers to other frames")
                yield frame, frame.pts
    if missing:
        raise ShortcutError("frames are missing")


def _planned_packets(
    video: Video, table: PacketTable, actions: list[Action]
) -> Iterator[tuple["Packet[VideoStream] | None", Action]]:
    """The packets that the decoder gets, and None at the end for the frames it still holds."""
    packets = video.packets(Damage())
    for action, time in zip(actions, table.times, strict=False):
        packet = next(packets, None)
        if packet is None or packet.pts != time:
            raise ShortcutError("the packets are not the ones that were there before")
        if action != Action.SKIP:
            yield packet, action
    yield None, Action.DECODE
