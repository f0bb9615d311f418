"""A service that looks at frames, writes documents and makes vectors, each in its own time.

It runs in a process of its own, speaks OpenAI's API, and counts what is paid twice.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.servers import in_a_process

DIMENSIONS = 8

NOTES = {"description": "A pan.", "things": ["2 eggs"], "actions": ["frying"], "text_seen": []}
OMELETTE = {
    "title": "Omelette",
    "description": "Eggs, folded.",
    "servings": 2,
    "times": {"preparation": 5, "cooking": None, "total": 10},
    "ingredients": [{"name": "eggs", "amount": "2", "at": 1.0}],
    "steps": [{"text": "Whisk the eggs.", "start": 0, "end": 2.5}],
}


@dataclass(frozen=True, slots=True)
class Tempo:
    """Seconds of a call that looks at a frame, that writes, that makes vectors; and of an upload of
    the video, and of a frame."""

    looking: float = 0.0
    writing: float = 0.0
    embedding: float = 0.0
    video: float = 0.0
    frame: float = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        with self.server.lock:
            self.server.paid[hashlib.sha256(body).hexdigest()] += 1
        tempo = self.server.tempo
        if self.path.endswith("/embeddings"):
            time.sleep(tempo.embedding)
            vector = [1.0] * DIMENSIONS
            data = [{"index": n, "embedding": vector} for n in range(len(asked["input"]))]
            self._answer({"data": data})
        elif "image_url" in body.decode():
            time.sleep(tempo.looking)
            self._answer(_said(NOTES))
        else:
            time.sleep(tempo.writing)
            self._answer(_said(OMELETTE))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        tempo = self.server.tempo
        time.sleep(tempo.video if self.path.endswith("video") else tempo.frame)
        self._answer({})

    def _answer(self, told: dict[str, Any]) -> None:
        content = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


def _said(told: dict[str, Any]) -> dict[str, Any]:
    message = {"content": json.dumps(told)}
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.tempo = Tempo()
        self.paid: Counter[str] = Counter()


class RecipeService:
    """The service in its process; `origin` is its address."""

    def __init__(self, pipe: Connection, origin: str) -> None:
        self._pipe = pipe
        self.origin = origin

    def restart(self, tempo: Tempo) -> None:
        """Forget what was paid, and take this long from now on."""
        self._pipe.send(asdict(tempo))
        self._pipe.recv()

    def paid_twice(self) -> int:
        """Requests that were the same as an earlier one, since it was restarted."""
        self._pipe.send(None)
        found: int = self._pipe.recv()
        return found


def _serve(pipe: Connection) -> None:
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    while True:
        told = pipe.recv()
        with server.lock:
            if told is None:
                pipe.send(sum(count - 1 for count in server.paid.values()))
                continue
            server.tempo, server.paid = Tempo(**told), Counter()
        pipe.send("restarted")


@contextmanager
def cooking() -> Iterator[RecipeService]:
    """The service for the length of the block."""
    with in_a_process(_serve) as (pipe, origin):
        yield RecipeService(pipe, origin)
