"""Facts in a container's header about a video that FFmpeg's library does not pass on.

Its frames' cropping, and its encryption. Only headers are read, a bounded part of the file; a
damaged header counts as absent.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stages.media.pictures.rendering import Crop

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_MOST_BOXES = 5000
"""The most boxes or elements that are read on one level."""

_MOST_BYTES = 8_000_000
"""The most bytes of a header that are read at once."""

_WINDOWS, _WINDOW = 4, 188 * 1000
"""Places in a stream that are looked at for scrambled packets, and the bytes of each."""


_NO_CROP = Crop()


@dataclass(frozen=True, slots=True)
class Header:
    """The header's facts about one video track."""

    encrypted: bool = False
    crop: Crop = _NO_CROP
    aspect: Fraction | None = None
    """The shape of the pixels, where FFmpeg derives it from the wrong size."""


def read_header(
    path: Path,
    container: str,
    *,
    track: int,
    position: int,
    size: tuple[int, int],
    codec_aspect: Fraction | None = None,
) -> Header:
    """The header's facts about a video in a container; `container` is FFmpeg's name of the format.

    `track` is the stream's id, `position` its place among the file's videos, `size` the width and
    height of its decoded frames. `codec_aspect` is the shape of pixels that its codec states.
    """
    with path.open("rb") as file:
        try:
            if container.startswith("mov"):
                return _from_mp4(file, track, size, codec_aspect)
            if container.startswith("matroska"):
                return _from_matroska(file, position, size, codec_aspect)
            if container.startswith("asf"):
                return Header(encrypted=_asf_is_encrypted(file))
            if container == "mpegts":
                return Header(encrypted=_is_scrambled(file, path.stat().st_size, track))
        except (struct.error, IndexError, ZeroDivisionError, EOFError):
            pass
    return Header()


def is_encrypted(packet: "Packet[VideoStream]") -> bool:
    """Whether part of a packet is encrypted, by MP4's common encryption of single samples.

    FFmpeg's side data holds a scheme, two numbers of a pattern, the lengths of key id and
    initialisation vector, the number of the pairs that follow, and these pairs of lengths: clear,
    encrypted.
    """
    if not packet.has_sidedata("encryption_info"):
        return False
    told = bytes(packet.get_sidedata("encryption_info"))
    *_, key_id, vector, pairs = struct.unpack_from(">6I", told)
    lengths = struct.unpack_from(f">{2 * pairs}I", told, 24 + key_id + vector)
    return pairs == 0 or any(lengths[1::2])


def _displayed(
    crop: Crop,
    size: tuple[int, int],
    display: tuple[int, int],
    codec_aspect: Fraction | None,
) -> Fraction | None:
    """The shape of the pixels of cropped frames that are to be shown at the size `display`.

    Most writers give the size after cropping, as the standards say; mkvtoolnix and others leave the
    size before it. Pixels are square if either reading makes them square; otherwise they are as the
    codec says.
    """
    if 0 in display:
        return None
    shown = Fraction(*display)
    whole = Fraction(*size)
    cropped = Fraction(size[0] - crop.left - crop.right, size[1] - crop.top - crop.bottom)
    found = {shown / whole, shown / cropped}
    return next((aspect for aspect in (Fraction(1), codec_aspect) if aspect in found), None)


def _is_possible(crop: Crop, size: tuple[int, int]) -> bool:
    inside = crop.left + crop.right < size[0] and crop.top + crop.bottom < size[1]
    return inside and min(crop) >= 0 and any(crop)


# MP4 and QuickTime: ISO/IEC 14496-12 for boxes and `clap`, 23001-7 for encryption.


def _from_mp4(
    file: BinaryIO, track: int, size: tuple[int, int], codec_aspect: Fraction | None
) -> Header:
    for kind, length in _boxes_of(file):
        if kind == b"moov":
            moov = file.read(min(length, _MOST_BYTES))
            break
    else:
        return Header()
    for kind, trak in _boxes(moov):
        boxes = dict(_boxes(trak)) if kind == b"trak" else {}
        head = boxes.get(b"tkhd", b"")
        if head and _track_id(head) == track:
            table = _descend(boxes.get(b"mdia", b""), b"minf", b"stbl", b"stsd")
            return _from_entries(list(_boxes(table[8:])), head, size, codec_aspect)
    return Header()


def _from_entries(
    entries: list[tuple[bytes, bytes]],
    head: bytes,
    size: tuple[int, int],
    codec_aspect: Fraction | None,
) -> Header:
    """The header from the sample entries of a track and its `tkhd`."""
    inner = [(kind, dict(_boxes(entry[78:]))) for kind, entry in entries]
    # A track may have a clear entry for its beginning and an encrypted one: its packets tell.
    encrypted = bool(inner) and all(_is_protected(kind, boxes) for kind, boxes in inner)
    clap = inner[0][1].get(b"clap", b"") if inner else b""
    crop = _clean_aperture(clap, size) if len(clap) >= 32 else Crop()
    if not _is_possible(crop, size):
        return Header(encrypted)
    if b"pasp" in inner[0][1]:
        return Header(encrypted, crop)
    width, height = (side >> 16 for side in struct.unpack(">II", head[-8:]))
    return Header(encrypted, crop, _displayed(crop, size, (width, height), codec_aspect))


def _clean_aperture(clap: bytes, size: tuple[int, int]) -> Crop:
    numbers = struct.unpack(">IIIIiIiI", clap[:32])
    width, height, right, down = (Fraction(*numbers[i : i + 2]) for i in (0, 2, 4, 6))
    left = round(right + (size[0] - width) / 2)
    top = round(down + (size[1] - height) / 2)
    return Crop(left, top, size[0] - left - round(width), size[1] - top - round(height))


def _is_protected(kind: bytes, boxes: dict[bytes, bytes]) -> bool:
    if kind != b"encv" and b"sinf" not in boxes:
        return kind == b"drmi"
    tenc = _descend(boxes.get(b"sinf", b""), b"schi", b"tenc")
    return len(tenc) < 7 or tenc[6] != 0


def _track_id(head: bytes) -> int:
    return int.from_bytes(head[20:24] if head[0] == 1 else head[12:16], "big")


def _descend(boxes: bytes, *path: bytes) -> bytes:
    for kind in path:
        boxes = dict(_boxes(boxes)).get(kind, b"")
    return boxes


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes in `content`, each as its type and content."""
    start = 0
    for _ in range(_MOST_BOXES):
        if start + 8 > len(content):
            return
        length, kind, skip = *struct.unpack_from(">I4s", content, start), 8
        if length == 1:
            length, skip = struct.unpack_from(">Q", content, start + 8)[0], 16
        elif length == 0:
            length = len(content) - start
        if length < skip:
            return
        yield kind, content[start + skip : start + length]
        start += length


def _boxes_of(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The boxes of a file, each as its type and length; the file stands at the content."""
    start, end = 0, file.seek(0, 2)
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        length, kind, skip = *struct.unpack_from(">I4s", head), 8
        if length == 1:
            length, skip = struct.unpack_from(">Q", head, 8)[0], 16
        elif length == 0:
            length = end - start
        if length < skip:
            return
        file.seek(start + skip)
        yield kind, length - skip
        start += length


# Matroska: RFC 9559; EBML: RFC 8794.

_SEGMENT, _CLUSTER, _TRACKS = 0x18538067, 0x1F43B675, 0x1654AE6B
_TRACK, _TYPE, _VIDEO = 0xAE, 0x83, 0xE0
_WIDTH, _HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0xB0, 0xBA, 0x54B0, 0x54BA
_DISPLAY_UNIT, _NO_UNIT = 0x54B2, 4
_CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)  # left, top, right, bottom
_ENCODINGS, _ENCODING, _ENCODING_TYPE, _ENCRYPTION = 0x6D80, 0x6240, 0x5033, 0x5035


def _from_matroska(
    file: BinaryIO, position: int, size: tuple[int, int], codec_aspect: Fraction | None
) -> Header:
    tracks = [dict(_elements(held)) for held in _matroska_tracks(file)]
    videos = [track for track in tracks if _number(track.get(_TYPE)) == 1]
    if position >= len(videos):
        return Header()
    track = videos[position]
    encodings = [dict(_elements(held)) for _, held in _elements(track.get(_ENCODINGS, b""))]
    encrypted = any(_ENCRYPTION in one or _number(one.get(_ENCODING_TYPE)) for one in encodings)
    video = dict(_elements(track.get(_VIDEO, b"")))
    crop = Crop(*(_number(video.get(side)) for side in _CROPS))
    coded = (_number(video.get(_WIDTH)), _number(video.get(_HEIGHT)))
    if coded != size or not _is_possible(crop, size):
        return Header(encrypted)
    if _number(video.get(_DISPLAY_UNIT)) == _NO_UNIT:
        return Header(encrypted, crop)
    display = (_number(video.get(_DISPLAY_WIDTH)), _number(video.get(_DISPLAY_HEIGHT)))
    return Header(encrypted, crop, _displayed(crop, size, display, codec_aspect))


def _matroska_tracks(file: BinaryIO) -> Iterator[bytes]:
    """The content of each entry of the segment's tracks."""
    start, end = 0, file.seek(0, 2)
    for _ in range(_MOST_BOXES):
        if start + 2 > end:
            return
        file.seek(start)
        head = file.read(12)
        kind, length, skip = _element(head, 0)
        if kind == _CLUSTER:
            return
        if kind == _TRACKS:
            file.seek(start + skip)
            for inner, held in _elements(file.read(min(length, _MOST_BYTES))):
                if inner == _TRACK:
                    yield held
            return
        start += skip if kind == _SEGMENT else skip + length


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    for _ in range(_MOST_BOXES):
        if start + 2 > len(content):
            return
        kind, length, skip = _element(content, start)
        yield kind, content[start + skip : start + skip + length]
        start += skip + length


def _element(content: bytes, start: int) -> tuple[int, int, int]:
    """An element's id, the length of its content, and the content's start after `start`."""
    first = 9 - content[start].bit_length()
    second = 9 - content[start + first].bit_length()
    if first > 4 or second > 8:
        raise EOFError
    kind = int.from_bytes(content[start : start + first], "big")
    length = int.from_bytes(content[start + first : start + first + second], "big")
    return kind, length & ((1 << 7 * second) - 1), first + second


def _number(held: bytes | None) -> int:
    return int.from_bytes((held or b"")[:8], "big")


# ASF: Advanced Systems Format specification, sections 3.14 and 3.15.

_CONTENT_ENCRYPTION = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),
)


def _asf_is_encrypted(file: BinaryIO) -> bool:
    head = file.read(30)
    start, end = 30, min(int.from_bytes(head[16:24], "little"), file.seek(0, 2))
    for _ in range(_MOST_BOXES):
        if start >= end:
            return False
        file.seek(start)
        entry = file.read(24)
        length = int.from_bytes(entry[16:], "little")
        if length < 24:
            return False
        if entry[:16] in _CONTENT_ENCRYPTION:
            return True
        start += length
    return False


# MPEG transport streams: ISO/IEC 13818-1, table 2-4.


def _is_scrambled(file: BinaryIO, length: int, track: int) -> bool:
    """Whether most packets of a stream are scrambled, by samples from
    several places of the file."""
    scrambled = clear = 0
    for window in range(_WINDOWS):
        file.seek(window * max(0, length - _WINDOW) // (_WINDOWS - 1))
        content = file.read(_WINDOW)
        step = 188
        start = next((i for i in range(192) if content[i : i + 377 : 188] == b"GGG"), None)
        if start is None:  # with a time before each packet, as in M2TS
            step = 192
            start = next((i for i in range(192) if content[i : i + 385 : 192] == b"GGG"), None)
        if start is None:
            continue
        for at in range(start, len(content) - 3, step):
            if content[at] != 0x47 or (content[at + 1] & 0x1F) << 8 | content[at + 2] != track:
                continue
            if content[at + 3] & 0x10:  # it holds some of the stream
                scrambled += bool(content[at + 3] & 0xC0)
                clear += not content[at + 3] & 0xC0
    return scrambled > clear
