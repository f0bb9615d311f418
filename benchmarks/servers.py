"""The servers that benchmarks crawl and ask, each in a process of its own: their time is nobody's.

`answering` is an OpenAI-compatible server that takes its time, allows so many requests a minute,
and fails when told to; `serving` hands out files at so many bytes a second and connection.
"""

import hashlib
import json
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stages.demo.server import File, MediaServer


@dataclass(frozen=True)
class Behaviour:
    """How the description server answers. `refused` and `failed` are the shares, 0 to 1, that get a
    429 without a Retry-After, and a 500, whatever the pace. `says` is each answer."""

    latency: float = 0.3
    requests_per_minute: float = 600.0
    refused: float = 0.0
    failed: float = 0.0
    seed: int = 0
    says: str = "A frame."


@dataclass
class CallTally:
    """What the server has seen: requests by how they were answered, and images paid for twice."""

    answers: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    first: float = 0.0
    last: float = 0.0
    described: list[float] = field(default_factory=list)
    sent: int = 0

    def figures(self) -> dict[str, float]:
        return {
            "requests": sum(self.answers.values()),
            "answered": self.answers["answered"],
            "over the limit": self.answers["over the limit"],
            "refused": self.answers["refused"],
            "failed": self.answers["failed"],
            "paid twice": sum(count - 1 for count in self.paid.values()),
            "in flight": sum(self.answers.values()) - self.sent,
            "seconds": self.last - self.first,
        }


class Allowance:
    """A token bucket that holds a second's worth, as the providers' own limits do."""

    def __init__(self, requests_per_minute: float) -> None:
        self._rate = requests_per_minute / 60
        self._level = max(1.0, self._rate)
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._level = min(max(1.0, self._rate), self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        arrived = time.monotonic()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.judge(body, arrived)
        time.sleep(self.server.behaviour.latency)
        status = {"answered": 200, "failed": 500}.get(answer, 429)
        said = {"content": self.server.behaviour.says}
        reply: dict[str, Any] = {"choices": [{"message": said, "finish_reason": "stop"}]}
        if status != 200:
            reply = {"error": {"message": answer}}
        content = json.dumps(reply).encode()
        with self.server.lock:
            self.server.tally.sent += 1
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.server.tally.last = time.monotonic()
        if status == 200:
            self.server.tally.described.append(self.server.tally.last)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.restart(Behaviour())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connections off: that is what some benchmarks do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def restart(self, behaviour: Behaviour) -> None:
        with self.lock:
            self.behaviour = behaviour
            self.tally = CallTally()
            self._allowance = Allowance(behaviour.requests_per_minute)
            self._dice = random.Random(behaviour.seed)

    def judge(self, body: bytes, arrived: float) -> str:
        with self.lock:
            self.tally.first = self.tally.first or arrived
            answer, roll = "answered", self._dice.random()
            if not self._allowance.take():
                answer = "over the limit"
            elif roll < self.behaviour.refused:
                answer = "refused"
            elif roll < self.behaviour.refused + self.behaviour.failed:
                answer = "failed"
            else:
                self.tally.paid[hashlib.sha256(body).hexdigest()] += 1
            self.tally.answers[answer] += 1
            return answer


class DescriptionServer:
    """The description server in its process. `url` is its API's address."""

    def __init__(self, pipe: Connection, url: str) -> None:
        self._pipe = pipe
        self.url = url

    def restart(self, behaviour: Behaviour) -> None:
        """Forget what was seen, and behave so from now on."""
        self._pipe.send(behaviour)
        self._pipe.recv()

    def figures(self) -> dict[str, float]:
        """What it has seen since it was restarted."""
        self._pipe.send("figures")
        found: dict[str, float] = self._pipe.recv()
        return found

    def described(self) -> list[float]:
        """When it sent each description since then, by the monotonic clock of this machine."""
        self._pipe.send("described")
        found: list[float] = self._pipe.recv()
        return sorted(found)


def _answer(pipe: Connection) -> None:
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(f"http://127.0.0.1:{server.server_address[1]}/v1")
    while True:
        asked = pipe.recv()
        if asked == "figures":
            with server.lock:
                pipe.send(server.tally.figures())
        elif asked == "described":
            pipe.send(server.tally.described)
        else:
            server.restart(asked)
            pipe.send("restarted")


@contextmanager
def in_a_process(
    serve: Callable[..., None], *arguments: object
) -> Iterator[tuple[Connection, Any]]:
    """Has `serve(*arguments, pipe)` serve in a process of its own for the length of the block;
    gives this end of the pipe, and what came through it first: where it serves. Raises RuntimeError
    where the process ends before that; a later end is an EOFError of the pipe."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(*arguments, there), daemon=True)
    process.start()
    there.close()  # the process has its own: with this one open, its end would go unnoticed
    try:
        try:
            first = here.recv()
        except EOFError:
            process.join()
            name = getattr(serve, "__name__", repr(serve))
            raise RuntimeError(
                f"{name} ended, with exit code {process.exitcode}, before it served"
            ) from None
        yield here, first
    finally:
        process.terminate()
        process.join()


@contextmanager
def answering(behaviour: Behaviour) -> Iterator[DescriptionServer]:
    """A description server for the length of the block."""
    with in_a_process(_answer) as (pipe, address):
        server = DescriptionServer(pipe, address)
        server.restart(behaviour)
        yield server


def _serve(files: list[Path], bytes_per_second: float, pipe: Connection) -> None:
    routes = {f"/{path.name}": File(path, bytes_per_second=bytes_per_second) for path in files}
    with MediaServer(routes) as media:
        pipe.send([media.url(f"/{path.name}") for path in files])
        threading.Event().wait()


@contextmanager
def serving(files: list[Path], bytes_per_second: float) -> Iterator[list[str]]:
    """The files' addresses, in their order, served for the length of the block."""
    with in_a_process(_serve, files, bytes_per_second) as (_, addresses):
        yield addresses
