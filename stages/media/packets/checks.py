"""Checks whether packets tell the times of a stream's frames, and whether its file is complete."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stages.media.damage import Damage
from stages.media.packets.table import PacketTable
from stages.media.video import UndecodableError, Video, open_video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_MOST_REORDERED = 16
"""The most frames by which a codec decodes a frame early (ITU-T H.264 A.3.1, H.265 A.4.1)."""

_LATE_IN_A_ROW = 16
"""Packets in a row behind the wanted part that prove its end: a single one may be wrong."""

_FAR_FROM_DECODING = 10
"""Seconds between decoding and presentation time that make the latter doubtful."""

_IN_ORDER = {"vp8", "vp9", "av1", "mjpeg"}
"""Codecs whose packets come in presentation order."""

_Item = TypeVar("_Item")


class Doubts:
    """Collects, packet by packet, evidence against the presentation times.

    They may be decoding times under another name, or a single one may be wrong: then the frame with
    the lowest time need not be shown first, and only decoding tells.
    """

    def __init__(self, video: Video) -> None:
        self._codec = video.codec
        self._far = int(_FAR_FROM_DECODING / video.time_base)
        # H.264 marks each packet's type; for other codecs FFmpeg knows only the stream's features.
        self._reorders = video.codec != "h264" and bool(video.stream.codec_context.has_b_frames)
        self._only_decoding_times = True
        self._any_far = False

    def see(self, packet: "Packet[VideoStream]", is_bidirectional: bool) -> None:
        """Call it for each packet; `is_bidirectional`: it is known to be a B-frame."""
        self._reorders = self._reorders or is_bidirectional
        if packet.pts is None or packet.dts is None:
            return
        ahead = packet.pts - packet.dts
        self._only_decoding_times = self._only_decoding_times and not ahead
        self._any_far = self._any_far or not -self._far // 10 <= ahead <= self._far

    def about(self, times: Sequence[int]) -> bool:
        """Whether these presentation times, in decoding order, are doubtful."""
        if self._any_far or (self._only_decoding_times and self._reorders and len(times) > 1):
            return True
        if all(a <= b for a, b in pairwise(times)):
            return False
        if self._codec in _IN_ORDER or (self._codec == "h264" and not self._reorders):
            return True
        by_time = sorted(range(len(times)), key=times.__getitem__)
        return any(abs(rank - index) > _MOST_REORDERED for rank, index in enumerate(by_time))


def until_late(
    packets: Iterable[_Item], is_late: Callable[[_Item], bool], stopped: Callable[[], None]
) -> Iterator[_Item]:
    """The packets up to and including the first of a row of late ones (long enough, or the last).

    `stopped` is called if the packets end with such a row.
    """
    late: list[_Item] = []
    for packet in packets:
        late.append(packet)
        if not is_late(packet):
            yield from late
            late = []
        elif len(late) > _LATE_IN_A_ROW:
            break
    if late:
        yield late[0]
        stopped()


def first_shown(path: Path, max_pixels: int) -> int | None:
    """The presentation time in ticks of the first frame that decodes, from a keyframe on."""
    with open_video(path, max_pixels=max_pixels) as video:
        started = False
        for packet in video.packets(Damage()):
            started = started or packet.is_keyframe
            try:
                frames = video.decode(packet) if started else []
            except UndecodableError:
                frames = []
            if frames:
                return frames[0].pts
        try:
            return next((frame.pts for frame in video.decode(None)), None)
        except UndecodableError:
            return None


def note_missing_end(path: Path, table: PacketTable, damage: Damage) -> None:
    declared = table.declared_duration
    if declared is None or not table.complete:
        return
    end = table.end()
    tolerance = max(Fraction(1), declared / 20)
    # Some headers give the length of the sound, some the last time on the file's own clock.
    last = max(end, max(table.times, default=0) * table.time_base)
    if declared - last > tolerance and not _sound_goes_on(
        path, declared - tolerance, table.max_pixels
    ):
        damage.notes.append(
            f"the video ends at {float(end):.1f} s although its header says"
            f" {float(declared):.1f} s: the file may be cut off"
        )


def _sound_goes_on(path: Path, time: Fraction, max_pixels: int) -> bool:
    """Whether the file's sound lasts until that second."""
    import av

    with open_video(path, max_pixels=max_pixels) as video:
        streams = [s for s in video.container.streams if s.type == "audio"]
        if not streams:
            return False
        first = video.container.start_time or 0
        begin = Fraction(first, 1_000_000)
        try:
            for packet in video.container.demux(streams):
                if packet.pts is not None and packet.time_base:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    if end - begin >= time:
                        return True
        except av.FFmpegError:
            return False
    return False
