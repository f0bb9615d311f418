"""Finds files that end before their container says."""

from pathlib import Path
from typing import BinaryIO

_BOXES = frozenset((b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof"))
"""Box types with which an MP4 or QuickTime file may begin."""

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_off(path: Path) -> bool:
    """Whether an MP4, QuickTime, Matroska, WebM or RIFF (AVI) file is shorter than its headers say.

    False for other files, and where the container gives no length. Reads a few headers.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(12)
        if begins[4:8] in _BOXES:
            return _boxes_end(file, size) > size
        if begins[:4] == _EBML:
            return _segment_end(file) > size
        if begins[:4] == b"RIFF":
            return 8 + int.from_bytes(begins[4:8], "little") > size
    return False


def _boxes_end(file: BinaryIO, size: int) -> int:
    """The end of the last box (ISO/IEC 14496-12, 4.2); at least `size` if
    that box is open-ended."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return size
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            return size  # 0: up to the end of the file; otherwise no box at all
        at += length
    return at


def _segment_end(file: BinaryIO) -> int:
    """The end of the segment (RFC 8794, 6); 0 where it is unknown, as in a live recording."""
    file.seek(4)
    at = 4
    length, width = _number(file.read(8))
    at += width + (length or 0)
    file.seek(at)
    if file.read(4) != _SEGMENT:
        return 0
    length, width = _number(file.read(8))
    return 0 if length is None else at + 4 + width + length


def _number(head: bytes) -> tuple[int | None, int]:
    """A variable-size integer, None for all ones (unknown), and its length in bytes."""
    if not head or not head[0]:
        return None, 1
    width = 9 - head[0].bit_length()
    if len(head) < width:
        return None, width
    value = int.from_bytes(head[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width
