"""The shape of pixels, frame by frame: a broadcast may change from 4:3 to 16:9 and back."""

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_REMEMBERED = 64
"""Packets whose frames the decoder may still hold; codecs reorder 16 at most."""


class Aspects:
    """Width over height of the pixels of each frame of a stream.

    A shape in the container holds for the whole stream. Otherwise each frame has the shape in its
    codec's headers at the time of its decoding. PyAV gives that only for the decoder as it is now,
    which may be some frames further on.
    """

    def __init__(self, stream: "VideoStream", known: Fraction | None = None) -> None:
        """`known` is the shape of all frames, where it is certain."""
        self._decoder = stream.codec_context
        self._stream = known or stream.sample_aspect_ratio
        codec = self._decoder.sample_aspect_ratio
        self._fixed = known is not None or self._stream != codec
        self._by_time: dict[int | None, Fraction | None] = {}

    def note(self, packet: "Packet[VideoStream] | None") -> None:
        """The decoder has taken this packet; None: it has given all frames that it held."""
        if self._fixed or packet is None:
            return
        self._by_time[packet.pts] = self._decoder.sample_aspect_ratio
        if len(self._by_time) > _REMEMBERED:
            del self._by_time[next(iter(self._by_time))]

    def of(self, frame: "VideoFrame") -> Fraction | None:
        """The shape of the pixels of a frame just decoded; None where it is unknown."""
        if self._fixed:
            return self._stream
        now = self._decoder.sample_aspect_ratio
        return self._by_time.get(frame.pts, now) or self._stream
