"""Decodes only the needed packets, segment by segment, and verifies the result."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from stages.media.damage import Damage
from stages.media.packets.table import Action, PacketTable, Segment
from stages.media.video import UndecodableError, Video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_READ_ON = 50
"""Gaps up to this many packets are read through rather than sought across."""


class SegmentError(Exception):
    """Decoding only the needed packets did not give exactly the requested frames."""


class DamagedError(SegmentError):
    """A packet or a frame is damaged, or lacks a packet that was left out."""


class SegmentDecoder:
    """Decodes segments of a freshly opened video. Each call takes a segment behind the last one.

    `keyframes_alone`: the segments hold only keyframes, of a codec in which frames after a keyframe
    may depend on frames before it. The decoder then checks that each is an intra picture.
    """

    def __init__(self, video: Video, table: PacketTable, keyframes_alone: bool = False) -> None:
        self._video = video
        self._table = table
        self._keyframes_alone = keyframes_alone
        self._packets: Iterator[Packet[VideoStream]] | None = None
        self._next = 0

    def frames(self, segment: Segment) -> Iterator[tuple["VideoFrame", int]]:
        """The wanted frames of this segment, in order, each with its time in ticks.

        Each is identical, to the pixel, to the result of decoding everything. Raises SegmentError
        as soon as that is in doubt: a packet is damaged, or differs from that in the table, or a
        frame does not come.
        """
        from av.video.frame import PictureType

        context = self._video.stream.codec_context
        missing = list(reversed(segment.wanted))
        wanted = set(segment.wanted)
        latest: int | None = None
        for packet, action in self._planned_packets(segment):
            context.skip_frame = "NONREF" if action == Action.REFERENCE else "DEFAULT"
            try:
                frames = self._video.decode(packet)
            except UndecodableError as error:
                raise DamagedError(str(error)) from error
            for frame in frames:
                if frame.is_corrupt:
                    raise DamagedError("a frame is damaged")
                if frame.pts is None or (latest is not None and frame.pts <= latest):
                    raise SegmentError("the frames come in another order")
                latest = frame.pts
                if frame.pts in wanted:
                    if not missing or frame.pts != missing.pop():
                        raise SegmentError("the frames come in another order")
                    if self._keyframes_alone and frame.pict_type != PictureType.I:
                        raise SegmentError("a keyframe refers to other frames")
                    yield frame, frame.pts
        if missing:
            raise SegmentError("frames are missing")
        context.flush_buffers()  # the decoder was told of the end of the stream: reset it to go on

    def _planned_packets(
        self, segment: Segment
    ) -> Iterator[tuple["Packet[VideoStream] | None", Action]]:
        """The packets for the decoder, and None at the end for the frames that it still holds."""
        packets = self._packets_from(segment.first)
        for index, action in enumerate(segment.actions, segment.first):
            packet = next(packets, None)
            if packet is None or not self._is_at(index, packet):
                raise SegmentError("the packets are not the ones that were there before")
            self._next = index + 1
            if action != Action.SKIP:
                yield packet, action
        yield None, Action.DECODE

    def _packets_from(self, first: int) -> Iterator["Packet[VideoStream]"]:
        gap = first - self._next
        if self._table.seekable and gap > _READ_ON:
            return self._sought(first)
        if self._packets is None:
            if self._table.seek is not None:
                self._video.seek(self._table.seek)
            self._packets = self._video.packets(Damage())
        for _ in range(gap):
            next(self._packets, None)
        return self._packets

    def _sought(self, first: int) -> Iterator["Packet[VideoStream]"]:
        """The packets from `first` on, which is a keyframe, after a seek to it.

        A seek may end up before it, or, in a broken file, anywhere.
        """
        import av

        try:
            self._video.seek(self._table.times[first])
        except av.FFmpegError as error:
            raise SegmentError(f"there is no seeking in this file: {error.strerror}") from error
        self._packets = self._video.packets(Damage())
        for packet in self._packets:
            if self._is_at(first, packet):
                return chain([packet], self._packets)
        raise SegmentError("a seek ended up in the wrong place")

    def _is_at(self, index: int, packet: "Packet[VideoStream]") -> bool:
        table = self._table
        return packet.pts == table.times[index] and packet.size == table.sizes[index]
