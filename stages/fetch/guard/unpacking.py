"""Unpacks the body of a response as it is read: no more than was asked for is held in memory."""

import functools
import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stages.fetch.guard.responses import Body, Watch

MOST_CODINGS = 5
"""The most content codings of a body, one inside the other."""

_BLOCK = 64 * 1024


class _Unpacker(Protocol):
    """Unpacks a body bit by bit."""

    @property
    def ended(self) -> bool: ...
    @property
    def hungry(self) -> bool:
        """Whether it can take more input before its output is read."""

    def unpack(self, packed: bytes, most: int) -> bytes:
        """Output of `packed` and of the input that it already holds; about `most` bytes at most."""


class _Zlib:
    def __init__(self, *formats: int) -> None:
        """The first of the formats (zlib's `wbits`) that the body's beginning has."""
        self._formats = list(formats)
        self._object = zlib.decompressobj(self._formats.pop(0))

    @property
    def ended(self) -> bool:
        return self._object.eof

    @property
    def hungry(self) -> bool:
        return not self._object.unconsumed_tail

    def unpack(self, packed: bytes, most: int) -> bytes:
        packed = self._object.unconsumed_tail + packed
        try:
            unpacked = self._object.decompress(packed, most)
        except zlib.error:
            if not self._formats:
                raise
            self._object = zlib.decompressobj(self._formats.pop(0))
            unpacked = self._object.decompress(packed, most)
        self._formats.clear()
        return unpacked


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._object = module.Decompressor()
        self._tail = b""
        self._bounded = hasattr(self._object, "can_accept_more_data")

    @property
    def ended(self) -> bool:
        return bool(self._object.is_finished())

    @property
    def hungry(self) -> bool:
        return not self._tail and (not self._bounded or self._object.can_accept_more_data())

    def unpack(self, packed: bytes, most: int) -> bytes:
        if self._bounded:
            return bytes(self._object.process(packed, output_buffer_limit=most))
        # Versions before 1.2 unpack all their input at once: ten bytes may hold 16 MB.
        packed = self._tail + packed
        self._tail = packed[16:]
        return bytes(self._object.process(packed[:16]))


class Unpacked(io.RawIOBase):
    """The unpacked content of `packed`. Bytes behind the end of the packed data are ignored."""

    def __init__(self, packed: Any, unpacker: _Unpacker) -> None:
        self._packed = packed
        self._unpacker = unpacker
        self._ready = memoryview(b"")
        self._any = False
        self._all_read = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready:
            self._ready = memoryview(self._next(len(buffer)))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _next(self, most: int) -> bytes:
        """The next bytes; none at the end. Raises EOFError where the packed data are cut off."""
        while not self._unpacker.ended:
            packed = b""
            if self._unpacker.hungry and not self._all_read:
                packed = self._packed.read(_BLOCK)
                self._all_read = not packed
                self._any |= bool(packed)
            unpacked = self._unpacker.unpack(packed, most) if self._any else b""
            if unpacked:
                return unpacked
            if self._all_read and self._unpacker.hungry and not self._unpacker.ended:
                if self._any:
                    raise EOFError("what was packed ends too early")
                break
        return b""

    def close(self) -> None:
        self._packed.close()
        super().close()


def unpackers(content_encoding: str) -> Sequence[Callable[[], _Unpacker]]:
    """The unpackers for a Content-Encoding, in order; an unknown coding is left as it is."""
    from yt_dlp.dependencies import brotli

    known: dict[str, Callable[[], _Unpacker]] = {
        "gzip": functools.partial(_Zlib, zlib.MAX_WBITS | 16),
        # Some servers send raw deflate, without the zlib header.
        "deflate": functools.partial(_Zlib, -zlib.MAX_WBITS, zlib.MAX_WBITS),
    }
    if brotli:
        known["br"] = functools.partial(_Brotli, brotli)
    named = (name.strip() for name in reversed(content_encoding.split(",")))
    return [known[name] for name in named if name in known]


def unpacked(response: Any, content_encoding: str, watch: Watch) -> Any:
    """The body of a response as a file, unpacked as it is read; None where it is not packed."""
    wanted = unpackers(content_encoding)
    if not wanted:
        return None
    if len(wanted) > MOST_CODINGS:
        response.close()
        raise watch.oversized(f"a body packed {len(wanted)} times")
    for unpacker in wanted:
        response = Unpacked(response, unpacker())
    return Body(response, watch)
