"""A stretch of a video as it is, packet by packet: quick, without loss, from a keyframe on."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import checkpoint
from stages.media.clips.clip import SLACK, WrittenClip, open_clip
from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS, open_media
from stages.media.packets.scan import scan_video
from stages.media.packets.table import PacketFlag, PacketTable
from stages.media.video import Video, open_video

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

_BEFORE = 5
"""Seconds before the stretch from which sound is read: a file's sound may lie after its picture."""

_WEB = {"vp8", "vp9", "av1"}, {"vorbis", "opus"}
_MP4 = {"h264", "hevc", "av1", "mpeg4"}, {"aac", "mp3", "ac3", "eac3", "alac", "opus"}


class NotCopyableError(Exception):
    """The packets do not say which of them make up the stretch, or no container takes them."""


def copy_stretch(
    path: Path, start: Fraction, end: Fraction, folder: Path, max_pixels: int = MOST_PIXELS
) -> WrittenClip:
    """Write the video's packets from the last keyframe at or before second `start` to the frame
    before second `end`, with those of the sound between, to clip.mp4, .webm or .mkv in `folder`.

    Frames that were sent before such a frame and are shown after it come along. Raises
    NotCopyableError, Permanent as `open_video` does, and OSError where the disk is full.
    """
    import av

    table = scan_video(path, Damage(), start, end, max_pixels=max_pixels)
    stretch = _packets_of(table, start, end)
    times = [
        table.times[at]
        for at in stretch
        if table.times[at] >= table.times[stretch.start] and not table.flags[at] & PacketFlag.HIDDEN
    ]
    begin = times[0] * table.time_base
    until = (max(times) + _duration(table, stretch, max(times))) * table.time_base
    try:
        with ExitStack() as opened:
            video = opened.enter_context(open_video(path, max_pixels=max_pixels))
            heard = opened.enter_context(open_media(path, max_pixels))
            sound: Any = heard.streams.best("audio")
            sound = sound if sound is not None and sound.codec_context is not None else None
            file = f"clip.{_container(video.codec, sound)}"
            written = opened.enter_context(open_clip(folder / file))
            shown = written.add_stream_from_template(video.stream, opaque=True)
            packets = [_shown(video, table, stretch)]
            if sound is not None:
                copied = written.add_stream_from_template(sound, opaque=True)
                packets.append(_heard(heard, sound, begin, until, table.seek is not None))
            for packet in merge(*packets, key=_decoded_at):
                checkpoint()
                ticks = round(begin / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - ticks
                packet.dts = None if packet.dts is None else packet.dts - ticks
                packet.stream = shown if packet.stream is video.stream else copied
                written.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise NotCopyableError(str(error)) from error
    return WrittenClip(file, table.seconds(times[0]), table.seconds(round(until / table.time_base)))


def _packets_of(table: PacketTable, start: Fraction, end: Fraction) -> range:
    """The packets of the stretch, by their places in the table."""
    if not (table.ordered and table.keyframes_told):
        raise NotCopyableError("the packets do not tell when the frames are shown")
    first, last = -1, -1
    for at, flag in enumerate(table.flags):
        time = table.seconds(table.times[at])
        if flag & PacketFlag.KEYFRAME and not flag & PacketFlag.HIDDEN and time <= start + SLACK:
            first = at
        if not flag & PacketFlag.HIDDEN and time < end - SLACK:
            last = at
    if first < 0 or last < first:
        raise NotCopyableError("there is no keyframe to begin with")
    return range(first, last + 1)


def _duration(table: PacketTable, stretch: range, latest: int) -> int:
    """Ticks for which the frame with the latest time is shown."""
    after = [time for time in table.times[stretch.stop : stretch.stop + 32] if time > latest]
    own = table.durations[table.times.index(latest)]
    return min(after) - latest if after else own or table.frame_duration


def _container(codec: str, sound: "AudioStream | None") -> str:
    """The extension of the container that players know best for these codecs."""
    heard = set() if sound is None else {sound.codec_context.codec.canonical_name}
    for extension, (videos, sounds) in {"webm": _WEB, "mp4": _MP4}.items():
        if codec in videos and heard <= sounds:
            return extension
    return "mkv"


def _shown(video: Video, table: PacketTable, stretch: range) -> Iterator["Packet[Any]"]:
    """The video's packets, without those that refer to frames before the first."""
    if table.seek is not None:
        video.seek(table.seek)
    first = table.times[stretch.start]
    for at, packet in enumerate(video.packets(Damage())):
        if at >= stretch.stop:
            return
        if at >= stretch.start and (packet.pts or 0) >= first:
            yield packet


def _heard(
    container: Any, stream: "AudioStream", begin: Fraction, until: Fraction, seek: bool
) -> Iterator["Packet[Any]"]:
    """The packets of the sound that begin between those times of the container's clock."""
    import av

    if seek and begin > _BEFORE:
        container.seek(round((begin - _BEFORE) * av.time_base))
    for packet in container.demux(stream):
        checkpoint()
        if not packet.size or packet.pts is None:
            continue
        time = packet.pts * packet.time_base
        if time >= until:
            return
        if time >= begin:
            yield packet


def _decoded_at(packet: "Packet[Any]") -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return (stamp or 0) * packet.time_base
