"""What a server may send: how much for one request, how slowly, and packed in which way.

yt-dlp reads pages, lists, manifests and keys whole, and unpacks them whole: what bounds their size
in memory is in here. Media are read in blocks: their size is bounded as the blocks come.
"""

import functools
import http.client
import io
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine import Cancelled, Drop, Ending, checkpoint
from stages.fetch.guard.content_length import MeasuredResponse
from stages.fetch.guard.manifests import pieces_in
from stages.net.errors import ending
from stages.net.faults import NO_ROOM, OVERSIZED, TOO_SLOW

MOST_TEXT = 20_000_000
"""Bytes, unpacked, of what is read whole: a page, a feed, a manifest, a key."""

MOST_PIECE = 1_000_000_000
"""Bytes of one piece of a stream: yt-dlp appends it to the file by way of memory."""

MOST_PIECES = 1_000_000
"""Pieces that one manifest may list: yt-dlp makes half a kilobyte of each."""

MOST_FILE = 20_000_000_000
"""Bytes of a video where `max_filesize` is unset."""

MOST_AROUND = 1_000_000
"""Bytes that are no body: headers, the sizes of chunks, trailers. A body in tiny chunks may have
more around it: up to 8 bytes for each of its own."""

MOST_CODINGS = 5
"""Ways in which a body may be packed, one inside the other."""

SLOW_SECONDS = 60.0
"""Seconds of waiting for one response, at least, before it may count as too slow."""

SLOW_TIMEOUTS = 3.0
"""The same, in time-outs of a socket: one that a person has made long is meant so."""

SLOW_RESPONSES = 5.0
"""The same for all responses of an attempt together, in the time that one is given."""

LITTLE_ROOM = 200_000_000
"""Bytes free on the disk under which a download ends that has taken more than is left."""

ROOM_STEP = 1_000_000
"""Bytes that come between two looks at the disk."""

_BLOCK = 64 * 1024
_BEGINNING = 1024
"""Bytes kept of what is read in blocks: yt-dlp looks at the first 512 before it reads the rest."""


@dataclass(slots=True)
class Waiting:
    """Seconds spent waiting for a server, and the bytes that came of it."""

    seconds: float = 0.0
    received: int = 0


class Watch:
    """What the responses of one downloader are held to. Tell it of each attempt: `begin`."""

    def __init__(self, *, max_filesize: int | None, min_rate: float, socket_timeout: float) -> None:
        self._most = MOST_FILE if max_filesize is None else max_filesize
        self._min_rate = min_rate
        self._patience = max(SLOW_SECONDS, SLOW_TIMEOUTS * socket_timeout)
        self.begin("")

    def begin(self, source: str) -> None:
        """An attempt at `source` begins."""
        self._source = source
        self._waiting = Waiting()
        self._looked_at = 0
        self.in_pieces = False
        self.passwords: dict[tuple[str, str, int | None], str] = {}
        """What goes to a server as Authorization: an address that was asked for holds it."""

    def waited(self, response: Waiting, seconds: float, received: int) -> None:
        """A read for `response` took so long and gave so much. Raises Transient, kind "too_slow",
        where a server keeps one waiting: only time in which nothing was there to be read counts, so
        `rate_limit` and a slow disk are nobody's fault."""
        self._judge(response, seconds, received, self._patience)
        self._judge(self._waiting, seconds, received, self._patience * SLOW_RESPONSES)

    def _judge(self, waiting: Waiting, seconds: float, received: int, patience: float) -> None:
        waiting.seconds += seconds
        waiting.received += received
        if waiting.seconds < patience:
            return
        rate = waiting.received / waiting.seconds
        waiting.seconds, waiting.received = 0.0, 0
        if rate < self._min_rate:
            said = f"{rate:.0f} bytes a second for {patience:.0f} s"
            raise ending(TOO_SLOW, self._source, said)

    def check_block(self, size: int) -> None:
        """`size` bytes of a body that is read in blocks have come."""
        if self.in_pieces and size > MOST_PIECE:
            raise self.oversized(f"a piece of a stream of more than {MOST_PIECE} bytes")
        if size > max(self._most, MOST_TEXT):
            raise self._too_large()

    def check_text(self, text: bytes) -> None:
        """All of a text that is read whole has come."""
        count = pieces_in(text)
        if count > MOST_PIECES:
            raise self.oversized(f"a manifest of {count:.3g} pieces")

    def progress(self, status: dict[str, Any]) -> None:
        """yt-dlp's hook: called for each block of a video that has come."""
        checkpoint()
        here = status.get("downloaded_bytes") or 0
        if max(here, status.get("total_bytes") or 0) > self._most:
            raise self._too_large()
        if status.get("tmpfilename") and abs(here - self._looked_at) >= ROOM_STEP:
            self._looked_at = here
            self._look_for_room(here, Path(status["tmpfilename"]).parent)

    def _look_for_room(self, here: int, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        if free < LITTLE_ROOM and here > free:
            said = f"{here / 1e6:.0f} MB came, and {free / 1e6:.0f} MB are left"
            raise ending(NO_ROOM, self._source, said)

    def oversized(self, what: str) -> Ending:
        return ending(OVERSIZED, self._source, what)

    def _too_large(self) -> Drop:
        return Drop(
            f"{self._source}: is larger than stages.download.max_filesize, {self._most} bytes",
            kind="too_large",
        )


class _Wire(io.RawIOBase):
    """What comes from the socket. Looks, at each read, whether the attempt is still wanted, and
    whether enough comes: a server that sends a byte now and then would otherwise hold a worker for
    as long as it likes."""

    def __init__(self, socket: io.RawIOBase, watch: Watch) -> None:
        self._socket = socket
        self._watch = watch
        self._waiting = Waiting()
        self._received = 0
        self.delivered = 0
        """Bytes of the body that have been read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        checkpoint()
        began = time.monotonic()
        count: int = self._socket.readinto(buffer) or 0
        self._received += count
        if self._received > MOST_AROUND + 9 * self.delivered:
            raise self._watch.oversized("headers or parts of them without end")
        self._watch.waited(self._waiting, time.monotonic() - began, count)
        return count

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        super().close()


class Response(MeasuredResponse):
    """A response that ends where it is held to: `read()` at MOST_TEXT, blocks as `Watch` says."""

    def __init__(self, watch: Watch, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._watch = watch
        self._wire = _Wire(self.fp.detach(), watch)
        self.fp = io.BufferedReader(self._wire)
        self._begun = b""

    def read(self, amt: int | None = None) -> bytes:
        if self.fp is None:
            return b""
        try:
            return self._read_text() if amt is None or amt < 0 else self._read_block(amt)
        except (Ending, Cancelled):
            self.close()  # urllib reads what comes with a redirect, and then forgets it
            raise

    def _read_block(self, most: int) -> bytes:
        block = self._read(most)
        self._watch.check_block(self._wire.delivered)
        self._begun = (self._begun + block)[:_BEGINNING]
        if self.fp is None and self._wire.delivered == len(self._begun):
            self._watch.check_text(self._begun)  # it was so short that no more is asked for
        return block

    def _read_text(self) -> bytes:
        text = self._read(MOST_TEXT + 1)
        if len(text) > MOST_TEXT:
            raise self._watch.oversized(f"a page or list of more than {MOST_TEXT} bytes")
        if self.length:  # as the base says it when all is asked for at once
            raise http.client.IncompleteRead(text, self.length)
        self._watch.check_text(self._begun + text)
        return text

    def _read(self, most: int) -> bytes:
        """The next `most` bytes, fewer at the end: by blocks, so that what was received is counted
        as body before long."""
        blocks, size = [], 0
        while size < most and (block := super().read(min(most - size, _BLOCK))):
            self._wire.delivered += len(block)
            size += len(block)
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


class _Unpacker(Protocol):
    """Unpacks a body bit by bit."""

    @property
    def ended(self) -> bool: ...
    @property
    def hungry(self) -> bool:
        """Whether it has use for more before it is asked for what it has."""

    def unpack(self, packed: bytes, most: int) -> bytes:
        """What comes of `packed` and what it holds already; about `most` bytes at most."""


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
        # Versions before 1.2 unpack all that they are given: ten bytes may hold 16 MB.
        packed = self._tail + packed
        self._tail = packed[16:]
        return bytes(self._object.process(packed[:16]))


class _Unpacked(io.RawIOBase):
    """What `packed` holds. What follows the end of the packed data is left alone."""

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


class Body(io.BufferedReader):
    """An unpacked body, held to the same bounds as one that was never packed."""

    def __init__(self, unpacked: io.RawIOBase, watch: Watch) -> None:
        super().__init__(unpacked, _BLOCK)
        self._watch = watch
        self._size = 0
        self._begun = b""

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None and amt >= 0:
            block = super().read(amt)
            self._size += len(block)
            self._watch.check_block(self._size)
            self._begun = (self._begun + block)[:_BEGINNING]
            if len(block) < amt and self._size == len(self._begun):
                self._watch.check_text(self._begun)  # so short that no more is asked for
            return block
        text = super().read(MOST_TEXT + 1)
        if len(text) > MOST_TEXT:
            raise self._watch.oversized(
                f"a page or list that unpacks to more than {MOST_TEXT} bytes"
            )
        self._watch.check_text(self._begun + text)
        return text


def unpackers(content_encoding: str) -> Sequence[Callable[[], _Unpacker]]:
    """How to unpack a body with that Content-Encoding, in order; what is unknown is left alone."""
    from yt_dlp.dependencies import brotli

    known: dict[str, Callable[[], _Unpacker]] = {
        "gzip": functools.partial(_Zlib, zlib.MAX_WBITS | 16),
        # Some servers send it without the header that it should have.
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
        response = _Unpacked(response, unpacker())
    return Body(response, watch)
