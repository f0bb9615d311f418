"""A transcription server that takes its time and makes its words up, in a process of its own.

It has OpenAI's protocol. It reads of the sound how long it is, and answers with words that cover
all of it. `transcribing` is such a server for the length of a block.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.servers import Allowance, in_a_process

_OPUS_RATE = 48_000
_WORD, _SEGMENT = 0.5, 10.0
"""Seconds of a word and of a segment."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a call takes, and more for each second of sound; requests a minute, if there is
    a limit, evenly spaced."""

    call: float
    second: float = 0.0
    requests_per_minute: float | None = None


@dataclass
class CallsHeard:
    """What the server has seen: seconds of sound of each call that it answered, and how many it
    turned away."""

    seconds: list[float] = field(default_factory=list)
    turned_away: int = 0


def seconds_of(body: bytes) -> float:
    """The length of the Ogg or FLAC file in a form."""
    page = body.rfind(b"OggS")
    if page >= 0:
        return int.from_bytes(body[page + 6 : page + 14], "little") / _OPUS_RATE
    begin = body.find(b"fLaC") + 8
    numbers = int.from_bytes(body[begin + 10 : begin + 18], "big")
    return (numbers & (2**36 - 1)) / (numbers >> 44)


def told(seconds: float) -> dict[str, Any]:
    """An answer with words from the first second to the last one."""
    words = [
        {"word": "word", "start": _WORD * at, "end": min(_WORD * (at + 1), seconds)}
        for at in range(int(seconds / _WORD) + 1)
        if _WORD * at < seconds
    ]
    segments, each = [], int(_SEGMENT / _WORD)
    for at in range(0, len(words), each):
        some = words[at : at + each]
        segments.append(
            {
                "id": at // each,
                "start": some[0]["start"],
                "end": some[-1]["end"],
                "text": " word" * len(some),
            }
        )
    text = " ".join(["word"] * len(words))
    return {"language": "english", "text": text, "segments": segments, "words": words}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_POST(self) -> None:
        began = time.monotonic()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        if not server.admits():
            self._answer(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
            return
        seconds = seconds_of(body)
        content = told(seconds)
        due = began + server.pace.call + server.pace.second * seconds
        time.sleep(max(0.0, due - time.monotonic()))
        with server.lock:
            server.heard.seconds.append(seconds)
        self._answer(200, content)

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.restart(Pace(0.0))

    def restart(self, pace: Pace) -> None:
        with self.lock:
            self.pace = pace
            self.heard = CallsHeard()
            allowed = pace.requests_per_minute
            self._allowance = None if allowed is None else Allowance(allowed)

    def admits(self) -> bool:
        with self.lock:
            admitted = self._allowance is None or self._allowance.take()
            self.heard.turned_away += not admitted
            return admitted


class SpeechService:
    """The server in its process. `url` is its API's address."""

    def __init__(self, pipe: Connection, url: str) -> None:
        self._pipe = pipe
        self.url = url

    def restart(self, pace: Pace) -> None:
        """Forget what was heard, and take this pace from now on."""
        self._pipe.send(pace)
        self._pipe.recv()

    def heard(self) -> CallsHeard:
        """What it has seen since it was restarted."""
        self._pipe.send(None)
        found: CallsHeard = self._pipe.recv()
        return found


def _serve(pipe: Connection) -> None:
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(f"http://127.0.0.1:{server.server_address[1]}/v1")
    while True:
        asked = pipe.recv()
        if asked is None:
            with server.lock:
                pipe.send(server.heard)
        else:
            server.restart(asked)
            pipe.send("restarted")


@contextmanager
def transcribing(pace: Pace) -> Iterator[SpeechService]:
    """A transcription server for the length of the block."""
    with in_a_process(_serve) as (pipe, address):
        service = SpeechService(pipe, address)
        service.restart(pace)
        yield service
