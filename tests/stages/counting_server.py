"""A server that counts what it sends: bytes, requests and connections, by the address asked for."""

import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Served:
    """A body and how it is sent. `framing` says where it ends: "length", "chunked", or "close" for
    the end of the connection. `headers` are further lines of the head, each with its line end."""

    content: bytes
    content_type: str = "video/mp4"
    status: str = "200 OK"
    framing: str = "length"
    ranges: bool = True
    bytes_per_second: float | None = None
    breaks_at: int | None = None
    """Bytes of the body after which the connection breaks off."""
    headers: str = ""


def leading_to(address: str) -> Served:
    return Served(b"", status="302 Found", headers=f"Location: {address}\r\n")


@dataclass(slots=True)
class Counted:
    """One request, and the bytes that its client has taken for it, head included. Taken is also
    what a socket's buffers hold: the server cannot tell."""

    path: str
    range: str | None
    sent: int = 0


class CountingServer:
    """Serves `routes`, by path, on a loopback address, one request for each connection."""

    def __init__(self, routes: Mapping[str, Served]) -> None:
        self.routes = dict(routes)
        self.requests: list[Counted] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._answering: list[threading.Thread] = []
        self._stopping = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}{path}"

    @property
    def connections(self) -> int:
        return len(self._answering)

    def sent(self) -> int:
        """All bytes, once every answer has ended: at its last byte or as its client hung up."""
        for thread in self._answering:
            thread.join(20)
            assert not thread.is_alive(), "a client neither reads nor hangs up"
        return sum(one.sent for one in self.requests)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._answering.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reading:
            lines = _lines(reading)
            if not lines:
                return
            asked = next((one for one in lines if one.lower().startswith("range:")), "")
            counted = Counted(lines[0].split(" ")[1], asked.partition(":")[2].strip() or None)
            self.requests.append(counted)
            route = self.routes[counted.path]
            head, body = _response(route, counted.range)
            try:
                self._send(connection, counted, head, None)
                self._send(connection, counted, body[: route.breaks_at], route.bytes_per_second)
            except OSError:  # its client has hung up
                return

    def _send(
        self, connection: socket.socket, counted: Counted, content: bytes, rate: float | None
    ) -> None:
        block = BLOCK if rate is None else max(1, int(rate / 20))
        left = memoryview(content)
        while left:
            count = connection.send(left[:block])
            counted.sent += count
            left = left[count:]
            if rate is not None:
                self._stopping.wait(count / rate)


def _lines(reading: BinaryIO) -> list[str]:
    """The lines of a request's head."""
    read: Callable[[], str] = lambda: reading.readline().decode("latin-1").strip()  # noqa: E731
    return list(iter(read, ""))


def _response(route: Served, asked: str | None) -> tuple[bytes, bytes]:
    """The head, and the body in its framing."""
    size, body, status = len(route.content), route.content, route.status
    lines = f"Content-Type: {route.content_type}\r\nConnection: close\r\n{route.headers}"
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "") if route.ranges else None
    if wanted is not None:
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        body, status = body[first : last + 1], "206 Partial Content"
        lines += f"Content-Range: bytes {first}-{last}/{size}\r\n"
    if route.framing == "length":
        lines += f"Content-Length: {len(body)}\r\n"
    if route.framing == "chunked":
        lines += "Transfer-Encoding: chunked\r\n"
        pieces = [body[at : at + BLOCK] for at in range(0, len(body), BLOCK)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode(), body
