"""A stand-in for a service, in a process of its own, and the one who tells it how to behave.

The service is a `SteeredServer`, which has a pace and counts what it sees; here is a `Steering` of
it, by which a benchmark gives it a new pace and reads its tally.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from benchmarks.servers import in_a_process

P = TypeVar("P")
"""A pace: how the service behaves."""
T = TypeVar("T")
"""A tally: what it has seen."""


class SteeredServer(ThreadingHTTPServer, ABC, Generic[P, T]):
    """A service on this machine. Begin with `restart`, which gives it its first pace."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler: type["SteeredHandler"]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.lock = threading.Lock()

    @abstractmethod
    def restart(self, pace: P) -> None:
        """Forget what was seen, and keep this pace from now on."""

    @abstractmethod
    def tally(self) -> T:
        """What was seen since."""


class SteeredHandler(BaseHTTPRequestHandler):
    """Reads and answers requests; nothing is logged."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def told(self, told: Any, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        """Answer with this as JSON."""
        self.send(json.dumps(told).encode(), "application/json", status, headers)

    def send(
        self, content: bytes, kind: str, status: int = 200, headers: Mapping[str, str] = {}
    ) -> None:
        self.send_response(status)
        named = {"Content-Type": kind, "Content-Length": str(len(content)), **headers}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


class Steering(Generic[P, T]):
    """The service in its process; `origin` is its address."""

    def __init__(self, pipe: Connection, origin: str) -> None:
        self._pipe = pipe
        self.origin = origin

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"{self.origin}/v1"

    def restart(self, pace: P) -> None:
        """Have it forget what was seen, and keep this pace from now on."""
        self._pipe.send(pace)
        self._pipe.recv()

    def tally(self) -> T:
        """What it has seen since it was restarted."""
        self._pipe.send(None)
        found: T = self._pipe.recv()
        return found


def _serve(make: Callable[[], SteeredServer[Any, Any]], pipe: Connection) -> None:
    server = make()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    while True:
        pace = pipe.recv()
        if pace is None:
            pipe.send(server.tally())
        else:
            server.restart(pace)
            pipe.send("restarted")


@contextmanager
def steered(make: Callable[[], SteeredServer[P, T]], pace: P) -> Iterator[Steering[P, T]]:
    """The service that `make` makes, a name of a module, for the length of the block."""
    with in_a_process(_serve, make) as (pipe, origin):
        service: Steering[P, T] = Steering(pipe, origin)
        service.restart(pace)
        yield service
