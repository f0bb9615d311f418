"""One request by libcurl, which can look like a browser's: from a pinned address to the body, which
is read as far as the caller asks.

libcurl works only while its reader waits, in the reader's own thread: so nothing is received
unasked, an attempt that is given up ends at once, and no thread is left behind.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine import checkpoint
from stages.fetch.guard import responses
from stages.fetch.guard.responses import Waiting, Watch

MOST_PENDING = 64_000_000
"""The most bytes, unpacked, that one step of libcurl may deliver beyond the
request of the reader."""

STEP = 0.25
"""Seconds between two checks of whether the attempt is still wanted."""

_DONE = 1  # CURLMSG_DONE
_TOO_LARGE = 100  # CURLE_TOO_LARGE
_STOP = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR


class CurlFailed(OSError):
    """libcurl failed: its code and its message."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `pinned`: the addresses of its host, the only ones to connect to; none where a
    proxy looks the host up."""

    method: str
    url: str
    port: int
    headers: list[str]
    data: bytes | None
    browser: str
    pinned: list[str]
    proxy: str | None
    timeout: float
    verify: bool
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of libcurl, by name."""


class Transfer(io.RawIOBase):
    """The body of the response, unpacked. After `begin`, `status` and
    `headers` are set. Always close it."""

    def __init__(self, asked: Asked, watch: Watch) -> None:
        from curl_cffi import Curl
        from curl_cffi._wrapper import ffi, lib

        self._ffi, self._lib = ffi, lib
        self._asked = asked
        self._watch = watch
        self._waiting = Waiting()
        self._pending = bytearray()
        self._lines: list[bytes] = []
        self._head_size = 0
        self.received = 0
        """Bytes of the body received so far, unpacked."""
        self._silent = 0.0
        self._fault: BaseException | None = None
        self._result: int | None = None
        self.failure: OSError | None = None
        """The error that ended the body early, if any; the bytes before it are read first."""
        self._has_head = False
        self.status = 0
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self._curl = Curl()
        self._multi = lib.curl_multi_init()
        self._is_added = False
        try:
            self._set_options(asked)
            if lib.curl_multi_add_handle(self._multi, self._curl._curl):
                raise CurlFailed(0, "libcurl does not take the request")
            self._is_added = True
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Send the request, and wait for the head of the response."""
        self._step_until(lambda: self._has_head)

    @property
    def connected_to(self) -> str:
        """The IP address of the server; "" if there was no connection."""
        from curl_cffi.const import CurlInfo

        found = self._curl.getinfo(CurlInfo.PRIMARY_IP)
        return found.decode() if isinstance(found, bytes) else ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            self._step_until(lambda: bool(self._pending))
        except OSError as error:
            self.failure = error
            return 0
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        del self._pending[:count]
        return count

    def close(self) -> None:
        if self._is_added:
            self._lib.curl_multi_remove_handle(self._multi, self._curl._curl)
            self._is_added = False
        if self._multi is not None:
            self._lib.curl_multi_cleanup(self._multi)
            self._multi = None
        self._curl.close()
        self._pending.clear()
        super().close()

    def _set_options(self, asked: Asked) -> None:
        from curl_cffi.const import CurlOpt
        from curl_cffi.curl import DEFAULT_CACERT

        def put(option: str, value: Any) -> None:
            self._curl.setopt(CurlOpt[option], value)

        if self._curl.impersonate(asked.browser):
            raise CurlFailed(0, f"this curl_cffi cannot impersonate {asked.browser}")
        if asked.url.startswith("http:"):
            put("HTTP_VERSION", 2)  # 1.1: no browser asks for 2 where nothing is encrypted
        put("URL", asked.url.encode())
        put("HTTPHEADER", [line.encode("latin-1", "replace") for line in asked.headers])
        put("ACCEPT_ENCODING", b"gzip, deflate, br, zstd")
        if asked.data is not None:
            put("POSTFIELDS", asked.data)
            put("POSTFIELDSIZE", len(asked.data))
        if asked.method == "HEAD":
            put("NOBODY", 1)
        elif asked.method != ("GET" if asked.data is None else "POST"):
            put("CUSTOMREQUEST", asked.method.encode())
        # Each redirect becomes a request of its own, so that its address is checked too.
        put("FOLLOWLOCATION", 0)
        put("PROTOCOLS_STR", b"http,https")
        # Always set: libcurl would read them from the environment.
        put("PROXY", (asked.proxy or "").encode())
        put("NOPROXY", b"")
        put("SUPPRESS_CONNECT_HEADERS", 1)
        put("HTTPPROXYTUNNEL", int(asked.proxy is not None and asked.url.startswith("https")))
        if asked.pinned:
            # Pins any host, however libcurl parses the address: it never looks up a name itself.
            put("RESOLVE", [f"*:{asked.port}:{','.join(asked.pinned)}"])
        put("CONNECTTIMEOUT_MS", max(1, int(asked.timeout * 1000)))
        if asked.verify:
            put("CAINFO", DEFAULT_CACERT)
            put("PROXY_CAINFO", DEFAULT_CACERT)
        else:
            for side in ("SSL", "PROXY_SSL"):
                put(f"{side}_VERIFYPEER", 0)
                put(f"{side}_VERIFYHOST", 0)
        for option, value in asked.options.items():
            put(option, value)
        put("HEADERFUNCTION", self._take_line)
        put("WRITEFUNCTION", self._take_body)

    # Callbacks of libcurl. They cannot raise through it, so an exception is kept for the reader.

    def _take_line(self, line: bytes) -> int:
        self._head_size += len(line)
        if self._head_size > responses.MOST_AROUND:
            self._fault = self._watch.oversized("headers or parts of them without end")
            return _STOP
        if self._has_head:  # a trailer
            return len(line)
        if line.startswith(b"HTTP/"):
            self._lines = []
        text = line.strip(b"\r\n")
        if text:
            self._lines.append(text)
        elif self._lines:
            self._read_head()
        return len(line)

    def _take_body(self, block: bytes) -> int:
        self.received += len(block)
        self._pending += block
        if len(self._pending) > MOST_PENDING:
            self._fault = self._watch.oversized("a body that unpacks to very much")
            return _STOP
        return len(block)

    def _read_head(self) -> None:
        first, *others = (line.decode("latin-1") for line in self._lines)
        _, _, said = first.partition(" ")
        code, _, self.reason = said.partition(" ")
        self.status = int(code) if code.isascii() and code.isdigit() else 0
        self._has_head = self.status >= 200 or self.status == 101
        self.headers = []
        for line in others:
            name, colon, value = line.partition(":")
            if colon and name.strip():
                self.headers.append((name.strip(), value.strip()))

    def _step_until(self, is_there: Callable[[], bool]) -> None:
        """Let libcurl work until `is_there` holds, or all has come. Raises
        CurlFailed, TimeoutError."""
        while not is_there() and self._result is None:
            self._step()
        if self._result and not is_there():
            said = self._ffi.string(self._curl._error_buffer).decode(errors="replace")
            if self._result == _TOO_LARGE or "content encodings" in said:
                raise self._watch.oversized("headers, or ways in which a body is packed,")
            raise CurlFailed(self._result, said or f"libcurl gave up ({self._result})")
        if not self._has_head:
            raise CurlFailed(0, "the connection ended before the response began")

    def _step(self) -> None:
        checkpoint()
        if self._multi is None:
            raise ValueError("read of a closed response")
        began, had = time.monotonic(), self._head_size + self.received
        running = self._ffi.new("int *")
        self._lib.curl_multi_perform(self._multi, running)
        self._look_whether_done()
        came = self._head_size + self.received - had
        if not came and self._result is None:
            waited = self._ffi.new("int *")
            self._lib.curl_multi_poll(self._multi, self._ffi.NULL, 0, int(STEP * 1000), waited)
        if self._fault is not None:
            raise self._fault
        seconds = time.monotonic() - began
        self._silent = 0.0 if came else self._silent + seconds
        self._watch.waited(self._waiting, seconds, came)
        if self._result is None and self._silent > self._asked.timeout:
            raise TimeoutError("timed out")

    def _look_whether_done(self) -> None:
        left = self._ffi.new("int *")
        while (message := self._lib.curl_multi_info_read(self._multi, left)) != self._ffi.NULL:
            if message.msg == _DONE:
                self._result = int(message.data.result)
