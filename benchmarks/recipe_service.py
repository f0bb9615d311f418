"""A service that looks at frames, writes documents, makes vectors and stores files, each in its own
time: it speaks OpenAI's API and as much of S3's as an upload needs, and counts what is paid twice.

All uploads go over one shared link: several at once share it evenly.
"""

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.steered import SteeredHandler, SteeredServer, Steering, steered

DIMENSIONS = 8

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
    the video, and of a frame, each alone on the link. `refused` is the share, 0 to 1, of calls that
    get a 429; the first frame that is asked about fails the first `failing` times.
    """

    looking: float = 0.0
    writing: float = 0.0
    embedding: float = 0.0
    video: float = 0.0
    frame: float = 0.0
    refused: float = 0.0
    failing: int = 0


@dataclass(frozen=True, slots=True)
class RecipeTally:
    """Calls that were answered, that got a 429, and that failed; answers to what had been answered
    before; and files that were stored, each once."""

    answered: int
    refused: int
    failed: int
    paid_twice: int
    stored: int


class SharedLink:
    """One line for all: several that are carried at once get equal shares of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._carried = 0
        self._served = 0.0
        """Seconds of the whole link that each has had that was carried from the beginning on."""
        self._at = time.monotonic()

    def carry(self, seconds: float) -> None:
        """Return when what takes so long alone has gone over the link."""
        with self._changed:
            self._advance()
            done = self._served + seconds
            self._carried += 1
            self._changed.notify_all()
            while (left := (done - self._served) * self._carried) > 1e-6:
                self._changed.wait(left)
                self._advance()
            self._carried -= 1
            self._changed.notify_all()

    def _advance(self) -> None:
        now = time.monotonic()
        if self._carried:
            self._served += (now - self._at) / self._carried
        self._at = now


class _Handler(SteeredHandler):
    server: "_Server"

    def do_POST(self) -> None:
        body = self.body()
        asked = json.loads(body)
        pictures = [one for one in _urls(asked) if one.startswith("data:image")]
        judged = self.server.judge(body, pictures)
        if judged != "answered":
            status = 500 if judged == "failed" else 429
            self.told({"error": {"message": judged}}, status, {"Retry-After": "0"})
            return
        tempo = self.server.tempo
        if self.path.endswith("/embeddings"):
            time.sleep(tempo.embedding)
            vector = [1.0] * DIMENSIONS
            self.told(
                {"data": [{"index": n, "embedding": vector} for n in range(len(asked["input"]))]}
            )
        elif pictures:
            time.sleep(tempo.looking)
            self.told(_said(notes_of(pictures[0])))
        else:
            time.sleep(tempo.writing)
            self.told(_said(OMELETTE))

    def do_HEAD(self) -> None:
        size = self.server.files.get(self.path)
        self.send(b"", "text/plain", 404 if size is None else 200, STORED_AS)

    def do_PUT(self) -> None:
        content, tempo = self.body(), self.server.tempo
        self.server.link.carry(tempo.video if self.path.endswith(".mp4") else tempo.frame)
        with self.server.lock:
            self.server.files[self.path] = len(content)
        self.send(b"", "text/plain", 200, STORED_AS)


STORED_AS = {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


def notes_of(picture: str) -> dict[str, Any]:
    """Notes of a frame as a model makes them: other ones of another picture."""
    seen = hashlib.sha256(picture.encode()).hexdigest()[:8]
    return {
        "description": f"A pan, as in picture {seen}.",
        "things": ["2 eggs", f"bowl {seen[:4]}"],
        "actions": [f"frying {seen[4:]}"],
        "text_seen": [],
    }


def _urls(told: Any) -> Iterator[str]:
    """Every picture's address in a request."""
    if isinstance(told, dict):
        if isinstance(told.get("url"), str):
            yield told["url"]
        for inner in told.values():
            yield from _urls(inner)
    elif isinstance(told, list):
        for inner in told:
            yield from _urls(inner)


def _said(told: dict[str, Any]) -> dict[str, Any]:
    message = {"content": json.dumps(told)}
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


class _Server(SteeredServer[Tempo, RecipeTally]):
    def __init__(self) -> None:
        super().__init__(_Handler)
        self.link = SharedLink()

    def restart(self, pace: Tempo) -> None:
        with self.lock:
            self.tempo = pace
            self.files: dict[str, int] = {}
            self._paid: Counter[str] = Counter()
            self._ends: Counter[str] = Counter()
            self._failing: str | None = None
            self._dice = random.Random(0)

    def judge(self, body: bytes, pictures: list[str]) -> str:
        """How the call is answered."""
        with self.lock:
            if self.tempo.failing and pictures and self._failing is None:
                self._failing = pictures[0]
            judged = "answered"
            if self._dice.random() < self.tempo.refused:
                judged = "refused"
            elif self._failing in pictures and self._ends["failed"] < self.tempo.failing:
                judged = "failed"
            else:
                self._paid[hashlib.sha256(body).hexdigest()] += 1
            self._ends[judged] += 1
            return judged

    def tally(self) -> RecipeTally:
        with self.lock:
            return RecipeTally(
                answered=self._ends["answered"],
                refused=self._ends["refused"],
                failed=self._ends["failed"],
                paid_twice=sum(count - 1 for count in self._paid.values()),
                stored=len(self.files),
            )


RecipeService = Steering[Tempo, RecipeTally]
"""The service in its process; `origin` is its address, and that of the store."""


@contextmanager
def cooking() -> Iterator[RecipeService]:
    """The service for the length of the block."""
    with steered(_Server, Tempo()) as service:
        yield service
