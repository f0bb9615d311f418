"""Limits on responses: their size and their speed.

yt-dlp reads pages, lists, manifests and keys whole, and unpacks them whole: their size in memory is
limited here. Media are read in blocks: their size is limited as the blocks come.
"""

import http.client
import io
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import Drop, Ending, checkpoint
from stages.fetch.guard.content_length import MeasuredResponse
from stages.fetch.guard.manifests import pieces_in
from stages.net.errors import ending
from stages.net.faults import NO_ROOM, OVERSIZED, TOO_SLOW

MOST_TEXT = 20_000_000
"""The most bytes, unpacked, of a response that is read whole: a page, a feed, a manifest, a key."""

MOST_PIECE = 1_000_000_000
"""The most bytes of one piece of a stream: yt-dlp holds a piece in memory."""

MOST_PIECES = 1_000_000
"""The most pieces in one manifest: yt-dlp needs half a kilobyte for each."""

MOST_FILE = 20_000_000_000
"""The most bytes of a video where `max_filesize` is unset."""

MOST_AROUND = 1_000_000
"""The most bytes beside the body: headers, chunk sizes, trailers. A body in tiny chunks may have
more: up to 8 bytes for each of its own."""

SLOW_SECONDS = 60.0
"""The least seconds of waiting for one response before it may count as too slow."""

SLOW_TIMEOUTS = 3.0
"""The same limit in multiples of the socket's timeout: a person may have set a long one."""

SLOW_RESPONSES = 5.0
"""The limit for all responses of an attempt together, in multiples of the limit for one."""

LITTLE_ROOM = 200_000_000
"""Free bytes on the disk below which a download ends if it has taken more than is left."""

ROOM_STEP = 1_000_000
"""Bytes received between two checks of the disk."""

_BLOCK = 64 * 1024
_BEGINNING = 1024
"""Bytes kept of a body that is read in blocks: yt-dlp inspects the first 512 before it reads on."""


@dataclass(slots=True)
class Waiting:
    """Seconds spent waiting for a server, and the bytes received in them."""

    seconds: float = 0.0
    received: int = 0


class Watch:
    """The limits on the responses of one downloader. Call `begin` for each attempt."""

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
        """The Authorization header for each server, from a password in a requested address."""

    def waited(self, response: Waiting, seconds: float, received: int) -> None:
        """A read for `response` waited `seconds` and got `received` bytes. Raises Transient, kind
        "too_slow", for a slow server. Only time without data to read counts, so `rate_limit` and a
        slow disk do not."""
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
        """Check a block of `size` bytes of a body that is read in blocks."""
        if self.in_pieces and size > MOST_PIECE:
            raise self.oversized(f"a piece of a stream of more than {MOST_PIECE} bytes")
        if size > max(self._most, MOST_TEXT):
            raise self._too_large()

    def check_text(self, text: bytes) -> None:
        """Check a text that has been read whole."""
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
    """The socket's bytes. At each read it checks whether the attempt is still wanted and whether
    enough arrives: a server that sends a byte now and then could otherwise hold a worker without
    end."""

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
    """A response with limits: `read()` up to MOST_TEXT, blocks as `Watch` allows."""

    def __init__(self, watch: Watch, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._watch = watch
        self._wire = _Wire(self.fp.detach(), watch)
        self.fp = io.BufferedReader(self._wire)
        self._begun = b""
        self._again = b""

    def read(self, amt: int | None = None) -> bytes:
        if self.fp is None:
            return b""
        try:
            return self._read_text() if amt is None or amt < 0 else self._read_block(amt)
        except BaseException:
            # Nothing can be read any more, and the server might go on sending. urllib would also
            # read the body of a redirect and drop it.
            self.close()
            raise

    def rewind(self) -> bool:
        """Go back to the beginning of the body; False where more was read than is kept of it."""
        if self.fp is None or self._wire.delivered > len(self._begun):
            return False
        self._again = self._begun + self._again
        self._wire.delivered -= len(self._begun)
        self._begun = b""
        return True

    def _read_block(self, most: int) -> bytes:
        block = self._read(most)
        self._watch.check_block(self._wire.delivered)
        self._begun = (self._begun + block)[:_BEGINNING]
        if self.fp is None and self._wire.delivered == len(self._begun):
            self._watch.check_text(self._begun)  # too short for another read
        return block

    def _read_text(self) -> bytes:
        text = self._read(MOST_TEXT + 1)
        if len(text) > MOST_TEXT:
            raise self._watch.oversized(f"a page or list of more than {MOST_TEXT} bytes")
        if self.length:  # the base class raises the same when it reads all at once
            raise http.client.IncompleteRead(text, self.length)
        self._watch.check_text(self._begun + text)
        return text

    def _read(self, most: int) -> bytes:
        """The next `most` bytes, fewer at the end; in blocks, so that
        received bytes soon count as body."""
        blocks, size = [], 0
        while size < most and (block := self._next(min(most - size, _BLOCK))):
            self._wire.delivered += len(block)
            size += len(block)
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _next(self, most: int) -> bytes:
        if not self._again:
            return super().read(most)
        block, self._again = self._again[:most], self._again[most:]
        return block


class Body(io.BufferedReader):
    """An unpacked body, with the same limits as one that was never packed."""

    def __init__(self, unpacked: io.RawIOBase, watch: Watch) -> None:
        super().__init__(unpacked, _BLOCK)
        self._watch = watch
        self._size = 0
        self._begun = b""
        self._again = b""

    def rewind(self) -> bool:
        """Go back to the beginning; False where more was read than is kept of it."""
        if self._size > len(self._begun):
            return False
        self._again = self._begun + self._again
        self._size, self._begun = 0, b""
        return True

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None and amt >= 0:
            block = self._next(amt)
            self._size += len(block)
            self._watch.check_block(self._size)
            self._begun = (self._begun + block)[:_BEGINNING]
            if len(block) < amt and self._size == len(self._begun):
                self._watch.check_text(self._begun)  # too short for another read
            return block
        text = self._next(MOST_TEXT + 1)
        self._size += len(text)
        if len(text) > MOST_TEXT:
            raise self._watch.oversized(
                f"a page or list that unpacks to more than {MOST_TEXT} bytes"
            )
        self._watch.check_text(self._begun + text)
        return text

    def _next(self, most: int) -> bytes:
        again, self._again = self._again[:most], self._again[most:]
        return again + super().read(most - len(again))
