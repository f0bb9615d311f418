"""The beginning of a packet of H.264 or HEVC, as far as its headers tell.

Both codecs wrap their data in network abstraction layer (NAL) units, each with a typed header.
"""

from collections.abc import Iterator
from typing import NamedTuple

CODECS = {"h264", "hevc"}

_SLICES = {"h264": range(1, 6), "hevc": range(32)}
_RESETTING_SLICES = {"h264": {5}, "hevc": {19, 20}}  # instantaneous decoder refresh (IDR)
_PARAMETER_SETS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}


class Beginning(NamedTuple):
    """The beginning of a packet, up to its first slice."""

    slice: int
    """The 16-bit header of the first slice, 0 if there is none."""
    new_parameters: bool
    """Whether there are parameter sets that the stream's header lacks. Later packets may need them,
    so this packet cannot be left out, even if no other frame refers to its own."""


def beginning(codec: str, data: bytes, extradata: bytes | None) -> Beginning:
    """The beginning of this packet. `extradata` is the stream's header, as FFmpeg has it."""
    known = extradata or b""
    new_parameters = False
    for unit in _units(data, codec, known):
        header = int.from_bytes(unit[:2], "big")
        kind = _type(codec, header)
        if kind in _SLICES[codec]:
            return Beginning(header, new_parameters)
        if kind in _PARAMETER_SETS[codec] and unit.rstrip(b"\x00") not in known:
            new_parameters = True
    return Beginning(0, new_parameters)


def is_reset(codec: str, header: int) -> bool:
    """Whether the decoder starts afresh at a slice with this header.

    In H.264 and HEVC a keyframe of the container may also be a mere entry point: frames after it
    may still refer to frames before it (ITU-T H.264 table 7-1, H.265 table 7-1).
    """
    return _type(codec, header) in _RESETTING_SLICES[codec]


def is_bidirectional(codec: str, header: int) -> bool:
    """Whether a slice of H.264 with this header is of a B-frame, if it is the frame's first slice.

    After the type of the unit come, in Exp-Golomb code, first_mb_in_slice, which is 0 then, and
    slice_type, 1 or 6 for B (ITU-T H.264 7.3.3, table 7-6).
    """
    return codec == "h264" and (header & 0xF0 == 0b1_010_0000 or header & 0xFC == 0b1_00111_00)


def _type(codec: str, header: int) -> int:
    return header >> 8 & 0x1F if codec == "h264" else header >> 9 & 0x3F


def _units(data: bytes, codec: str, extradata: bytes) -> Iterator[bytes]:
    """Each NAL unit up to the first slice; of the slice only the header."""
    slices = _SLICES[codec]
    if extradata[:1] != b"\x01":  # ITU-T H.264 annex B: units after start codes
        start = data.find(b"\x00\x00\x01") + 3
        while start >= 3:
            if _type(codec, int.from_bytes(data[start : start + 2], "big")) in slices:
                yield data[start : start + 2]
                return
            following = data.find(b"\x00\x00\x01", start)
            yield data[start : following if following >= 0 else len(data)]
            start = following + 3
        return
    # ISO/IEC 14496-15: units after their lengths, whose size the decoder configuration tells.
    size_at = 4 if codec == "h264" else 21
    size = (extradata[size_at] & 3) + 1 if len(extradata) > size_at else 4
    position = 0
    while position + size < len(data):
        start = position + size
        position = start + int.from_bytes(data[position:start], "big")
        header = data[start : start + 2]
        if _type(codec, int.from_bytes(header, "big")) in slices:
            yield header
            return
        yield data[start:position]
