"""A small server on this machine, for the demo to crawl and ask, and for the tests' failures.

A route is a function of one request. Those below serve files, pages, feeds and streams; others wrap
a route and make it misbehave: `FirstThen(BareStatus(429, retry_after=1), 2, File(path))` refuses
twice and then serves.
"""

import mimetypes
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the server saw it; `range` is its Range header."""

    method: str
    path: str
    range: str | None


class Exchange(BaseHTTPRequestHandler):
    """One request and the methods to answer it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"
    content: bytes = b""
    """What was sent with a POST."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.media.requests.append(Received(self.command, path, self.headers["Range"]))
        self.server.media.routes.get(path, BareStatus(404))(self)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.do_GET()

    def head(self, status: int, content_type: str, length: int, **headers: str) -> None:
        """Send everything before the body; `retry_after="1"` becomes `Retry-After: 1`."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-").title(), value)
        self.end_headers()

    def send(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        """Send a whole response."""
        self.head(status, content_type, len(body), **headers)
        self.body(body)

    def body(self, content: bytes, bytes_per_second: float | None = None) -> None:
        """Send a body or a part of it, at most at that rate; a HEAD request gets none."""
        if self.command == "HEAD":
            return
        if bytes_per_second is None:
            self.wfile.write(content)
            return
        block = max(1, min(BLOCK, int(bytes_per_second / 20)))
        started = time.monotonic()
        for sent in range(0, len(content), block):
            due = started + min(sent + block, len(content)) / bytes_per_second
            if self.server.media.stopping.wait(max(0.0, due - time.monotonic())):
                return
            self.wfile.write(content[sent : sent + block])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: `MediaServer.requests` is the log."""


Route = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class BareStatus:
    """A response that is only a status, such as 404 or 500."""

    status: int
    retry_after: int | str | None = None

    def __call__(self, exchange: Exchange) -> None:
        headers = {} if self.retry_after is None else {"retry_after": str(self.retry_after)}
        exchange.send(self.status, "text/plain", f"{self.status}\n".encode(), **headers)


@dataclass(frozen=True, slots=True)
class File:
    """A file, whole or the part that a Range header asks for."""

    path: Path
    content_type: str | None = None
    bytes_per_second: float | None = None
    cut: float = 1.0
    """The share of the promised bytes that is really sent, before the connection closes."""

    def __call__(self, exchange: Exchange) -> None:
        content = self.path.read_bytes()
        kind = self.content_type or mimetypes.guess_type(self.path.name)[0]
        kind = kind or "application/octet-stream"
        size = len(content)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.headers["Range"] or "")
        if wanted is None:
            exchange.head(200, kind, size, accept_ranges="bytes")
        else:
            first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
            if first > last:
                exchange.send(416, "text/plain", b"", content_range=f"bytes */{size}")
                return
            content = content[first : last + 1]
            span = f"bytes {first}-{last}/{size}"
            exchange.head(206, kind, len(content), content_range=span)
        exchange.body(content[: int(len(content) * self.cut)], self.bytes_per_second)


@dataclass(frozen=True, slots=True)
class Text:
    """A text of any type: a page, a feed, a stream's playlist."""

    content: str
    content_type: str = "text/html; charset=utf-8"

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(200, self.content_type, self.content.encode())


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to another address."""

    location: str
    status: int = 302

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(self.status, "text/plain", b"", location=self.location)


@dataclass(slots=True)
class FirstThen:
    """Answers the first `times` requests with `first`, and every later one with `then`."""

    first: Route
    times: int
    then: Route
    _asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            turn = self._asked
            self._asked += 1
        (self.first if turn < self.times else self.then)(exchange)


def page(videos: Iterable[str], title: str = "Videos") -> Text:
    """An HTML page with a `<video>` for each address."""
    shown = "\n".join(f'<video src="{escape(video)}" controls></video>' for video in videos)
    head = f"<head><title>{escape(title)}</title></head>"
    return Text(f"<!doctype html>\n<html>{head}\n<body>\n{shown}\n</body></html>\n")


def feed(videos: Iterable[str], title: str = "Feed") -> Text:
    """An RSS feed with an item for each address."""
    items = "\n".join(
        f"<item><title>Video {number}</title><link>{escape(video)}</link></item>"
        for number, video in enumerate(videos, 1)
    )
    channel = f"<channel><title>{escape(title)}</title>\n{items}\n</channel>"
    text = f'<?xml version="1.0"?>\n<rss version="2.0">{channel}</rss>\n'
    return Text(text, "application/rss+xml")


def stream(segments: Sequence[tuple[str, float]]) -> Text:
    """An HLS stream's playlist over (address, seconds) of MPEG-TS segments."""
    longest = max(int(seconds + 1) for _, seconds in segments)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{longest}"]
    for address, seconds in segments:
        lines += [f"#EXTINF:{seconds:.3f},", address]
    return Text("\n".join([*lines, "#EXT-X-ENDLIST", ""]), "application/vnd.apple.mpegurl")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    media: "MediaServer"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that look at a header and hang up are normal here."""


class MediaServer:
    """Serves `routes`, by path, on a loopback address, in threads of its own; port 0 means any.

    `with MediaServer({"/a.mp4": File(path)}) as server:` and then `server.url("/a.mp4")`. Routes
    may be added while it runs. `requests` lists what was asked for, in order of arrival.
    """

    def __init__(
        self,
        routes: Mapping[str, Route] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.requests: list[Received] = []
        self.stopping = threading.Event()
        self._server = _Server((host, port), Exchange)
        self._server.media = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def url(self, path: str) -> str:
        """The address of `path`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}{path}"

    def asked(self, path: str) -> list[Received]:
        """The requests for `path`, in order of arrival."""
        return [request for request in self.requests if request.path == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; answers under way are cut off."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
