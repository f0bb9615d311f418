"""Changing what a container says: boxes put into MP4, elements into Matroska, bits of MPEG-TS."""

import struct
from pathlib import Path

SAMPLE_ENTRY = 78
"""Bytes that a video's sample entry holds before its boxes."""


def box(kind: bytes, *held: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, held)), kind) + b"".join(held)


def put_into_mp4(path: Path, added: bytes, *place: bytes) -> None:
    """Add a box at the end of the box at that place, such as moov, trak; moov must be the last."""
    content = path.read_bytes()
    path.write_bytes(_grown(content, added, list(place)))


def _grown(content: bytes, added: bytes, place: list[bytes]) -> bytes:
    if not place:
        return content + added
    out, start = b"", 0
    while start < len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        whole = content[start : start + length]
        if place and kind == place[0]:
            skip = {b"stsd": 8, b"avc1": SAMPLE_ENTRY, b"encv": SAMPLE_ENTRY}.get(kind, 0)
            held = whole[8 : 8 + skip] + _grown(whole[8 + skip :], added, place[1:])
            whole, place = box(kind, held), []
        out += whole
        start += length
    return out


ENTRY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")


def clean_aperture(width: int, height: int, right: int = 0, down: int = 0) -> bytes:
    """A `clap`: the size that is shown, and how far its middle is from the picture's."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, 1, down, 1))


def element(kind: int, held: bytes | int) -> bytes:
    """An EBML element; its length takes eight bytes."""
    if isinstance(held, int):
        held = held.to_bytes(2, "big")
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (1 << 56 | len(held)).to_bytes(8, "big") + held


def put_into_matroska(path: Path, added: bytes, *place: int, without: tuple[int, ...] = ()) -> None:
    """Add elements to the element at that place, such as Segment, Tracks."""
    path.write_bytes(_grown_ebml(path.read_bytes(), added, list(place), without))


def _grown_ebml(content: bytes, added: bytes, place: list[int], without: tuple[int, ...]) -> bytes:
    if not place:
        kept = b"".join(whole for kind, whole, _ in _elements(content) if kind not in without)
        return kept + added
    out = b""
    for kind, whole, held in _elements(content):
        if place and kind == place[0]:
            whole, place = element(kind, _grown_ebml(held, added, place[1:], without)), []
        out += whole
    return out


def _elements(content: bytes) -> list[tuple[int, bytes, bytes]]:
    found, start = [], 0
    while start < len(content):
        first = 9 - content[start].bit_length()
        second = 9 - content[start + first].bit_length()
        skip = first + second
        kind = int.from_bytes(content[start : start + first], "big")
        length = int.from_bytes(content[start + first : start + skip], "big")
        length &= (1 << 7 * second) - 1
        if length == (1 << 7 * second) - 1:  # unknown: to the end
            length = len(content) - start - skip
        end = start + skip + length
        found.append((kind, content[start:end], content[start + skip : end]))
        start = end
    return found


SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
DISPLAY = (0x54B0, 0x54BA, 0x54B2)
"""DisplayWidth, DisplayHeight, DisplayUnit."""


def pixel_crop(left: int, top: int, right: int, bottom: int, display: tuple[int, int]) -> bytes:
    sides = zip((0x54CC, 0x54BB, 0x54DD, 0x54AA), (left, top, right, bottom), strict=True)
    shown = zip(DISPLAY, display, strict=False)
    return b"".join(element(kind, value) for kind, value in [*sides, *shown])
