"""Reads the packets of a video into a table, as far as they matter, without decoding them.

Where packets do not give the frames' times for sure, the whole video is decoded to learn them.
"""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS
from stages.media.packets.checks import Doubts, first_shown, note_missing_end, until_late
from stages.media.packets.headers import PacketReader
from stages.media.packets.table import PacketFlag, PacketTable
from stages.media.video import MOST_TICKS_AHEAD, Video, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

SEEK_FROM = 10
"""Seconds: from this `start` on, a seek is worth its risks."""

_SEEKABLE = {"mov", "matroska"}
"""Containers, by FFmpeg's names, that store the time of each keyframe."""

_HEAD = 32
"""Packets that surely include the first shown frame: codecs reorder 16 at most."""


def scan_video(
    path: Path,
    damage: Damage,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    keyframes_only: bool = False,
    max_pixels: int = MOST_PIXELS,
    seek: bool = True,
) -> PacketTable:
    """Read the packets that matter for the frames shown from `start` until `end`.

    `keyframes_only`: no other frames will be wanted, so fewer headers are read. `seek`: packets
    before a late `start` may be left out. Raises Permanent as `open_video` does.
    """
    table = None
    if seek and start >= SEEK_FROM:
        table = _scan_after_seek(path, start, end, keyframes_only, max_pixels)
    if table is None:
        with open_video(path, max_pixels=max_pixels) as video:
            table = _scan(video, damage, end, keyframes_only)
        if table.ordered:
            _leave_out_what_does_not_decode(path, table)
        if not table.ordered and table.times:
            table.learn_times(path)
        note_missing_end(path, table, damage)
    return table


def _scan_after_seek(
    path: Path, start: Fraction, end: Fraction | None, keyframes_only: bool, max_pixels: int
) -> PacketTable | None:
    """Read from the keyframe before `start`; None where a seek might give other frames.

    Some files decode well from their beginning and give garbage after a seek.
    """
    import av

    damage = Damage()
    with open_video(path, max_pixels=max_pixels) as video:
        if not _is_seekable(video):
            return None
        head = _scan(video, damage, Fraction(0), keyframes_only)
        _leave_out_what_does_not_decode(path, head)
        origin = head.origin
        # All later packets need the facts that only the first ones hold.
        if origin is None or not (head.ordered and head.intact and head.steady):
            return None
        target = origin + int(start / video.time_base)
        try:
            video.seek(target)
        except av.FFmpegError:
            return None
        table = _scan(video, damage, end, keyframes_only, origin)
    if not table.times or not table.ordered or damage.sentences():
        return None
    table.seek = target
    return table if table.flags[0] & PacketFlag.RESET and table.times[0] <= target else None


def _scan(
    video: Video,
    damage: Damage,
    end: Fraction | None,
    keyframes_only: bool,
    origin: int | None = None,
) -> PacketTable:
    table = PacketTable(
        video.codec, video.time_base, video.frame_duration, video.declared_duration, origin
    )
    table.seekable = _is_seekable(video)
    table.max_pixels = video.max_pixels
    table.intra_only = video.stream.codec_context.codec.intra_only
    look = PacketReader(video, table, keyframes_only)
    doubts = Doubts(video)
    head: list[int] = []
    started = False
    latest: int | None = None

    def is_late(packet: "Packet[VideoStream]") -> bool:
        # No frame is shown before it is decoded, so all later frames are shown after `end`.
        if end is None or packet.dts is None or table.origin is None or not table.ordered:
            return False
        if latest is not None and packet.dts > latest + MOST_TICKS_AHEAD:
            return False
        return table.seconds(packet.dts) >= end

    def stop() -> None:
        table.complete = False

    for packet in until_late(video.packets(damage), is_late, stop):
        flag = look.at(packet)
        doubts.see(packet, look.is_bidirectional)
        runs_back = (
            packet.dts is not None
            and latest is not None
            and not latest <= packet.dts <= latest + MOST_TICKS_AHEAD
        )
        if packet.pts is None or runs_back:
            table.ordered = False
        table.intact = table.intact and not packet.is_corrupt
        table.times.append(packet.pts or 0)
        table.durations.append(packet.duration or 0)
        table.sizes.append(packet.size)
        table.flags.append(flag)
        latest = packet.dts if packet.dts is not None else latest
        # A decoder starts with the first keyframe, though frames shown before it may follow.
        started = started or bool(flag & PacketFlag.KEYFRAME)
        if len(head) < _HEAD and started and not flag & PacketFlag.HIDDEN:
            head.append(packet.pts or 0)
            if len(head) == _HEAD and origin is None:
                table.origin = min(head)
    times = [table.times[index] for index in table.shown()]
    table.ordered = table.ordered and len(set(times)) == len(times)
    table.ordered = table.ordered and not doubts.about(table.times)
    if not table.ordered:
        table.origin = None
    elif table.origin is None:
        table.origin = min(head or times, default=0)
    return table


def _leave_out_what_does_not_decode(path: Path, table: PacketTable) -> None:
    """Hide frames that are shown before the first keyframe and refer to missing frames.

    So it is in a video that was cut out of a longer one at a keyframe inside a group.
    """
    shown = [i for i in range(len(table.flags)) if not table.flags[i] & PacketFlag.HIDDEN]
    first = next((i for i in shown if table.flags[i] & PacketFlag.KEYFRAME), None)
    if first is None or table.origin is None or table.times[first] <= table.origin:
        return
    origin = first_shown(path, table.max_pixels)
    if origin is None or not table.origin < origin <= table.times[first]:
        return
    table.origin = origin
    for index in shown:
        if table.times[index] < origin:
            table.flags[index] |= PacketFlag.HIDDEN


def _is_seekable(video: Video) -> bool:
    return bool(_SEEKABLE & set(video.container.format.name.split(",")))
