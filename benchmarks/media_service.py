"""A server that draws and speaks, in a process of its own: it takes its time, allows so many
pictures a minute, and fails when told to."""

import base64
import hashlib
import io
import json
import random
import time
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.scenes_material import recording, spoken
from benchmarks.servers import Allowance
from benchmarks.steered import SteeredHandler, SteeredServer, Steering, steered
from stages.sound.track import RATE

IMAGES, SPEECH = "/v1/images/generations", "/v1/audio/speech"


@dataclass(frozen=True)
class MediaPace:
    """Seconds that a picture and a piece of narration take, seconds of sound for each, pictures a
    minute (None: no limit), and the shares, 0 to 1, of calls that get a 429, and a 500."""

    image: float
    voice: float
    said: float
    images_per_minute: float | None = None
    refused: float = 0.0
    failed: float = 0.0


@dataclass(frozen=True)
class MediaTally:
    """Calls by how they ended, calls answered more than once, the most pictures at once, and when
    the first was asked for and the last answered, by this machine's monotonic clock."""

    answers: dict[str, int]
    paid_twice: int
    most_images: int
    first_asked: float
    last_answered: float


class _Handler(SteeredHandler):
    server: "_Server"

    def do_POST(self) -> None:
        began, server = time.monotonic(), self.server
        body = self.body()
        draws = self.path == IMAGES
        judged = server.judge(body, draws)
        if judged != "answered":
            self.told({"error": {"message": judged}}, 500 if judged == "failed" else 429)
            return
        due = began + (server.pace.image if draws else server.pace.voice)
        time.sleep(max(0.0, due - time.monotonic()))
        server.left(draws)
        content = server.drawn if draws else server.spoken
        self.send(content, "application/json" if draws else "audio/wav")


class _Server(SteeredServer[MediaPace, MediaTally]):
    def __init__(self) -> None:
        super().__init__(_Handler)
        picture = base64.b64encode(_picture()).decode()
        self.drawn = json.dumps({"data": [{"b64_json": picture}]}).encode()

    def restart(self, pace: MediaPace) -> None:
        with self.lock:
            self.pace = pace
            self.spoken = _sound(pace.said)
            self._answers: Counter[str] = Counter()
            self._paid: Counter[str] = Counter()
            self._images = self._most = 0
            self._first = self._last = 0.0
            allowed = pace.images_per_minute
            self._allowance = None if allowed is None else Allowance(allowed)
            self._dice = random.Random(0)

    def judge(self, body: bytes, draws: bool) -> str:
        """How the call is answered; one that is comes back by `left`."""
        with self.lock:
            if draws:
                self._first = self._first or time.monotonic()
            roll = self._dice.random()
            judged = "answered"
            if draws and self._allowance is not None and not self._allowance.take():
                judged = "over the limit"
            elif roll < self.pace.refused:
                judged = "refused"
            elif roll < self.pace.refused + self.pace.failed:
                judged = "failed"
            else:
                self._paid[hashlib.sha256(body).hexdigest()] += 1
                self._images += draws
                self._most = max(self._most, self._images)
            self._answers[judged] += 1
            return judged

    def left(self, draws: bool) -> None:
        with self.lock:
            self._images -= draws
            if draws:
                self._last = time.monotonic()

    def tally(self) -> MediaTally:
        with self.lock:
            twice = sum(count - 1 for count in self._paid.values())
            return MediaTally(dict(self._answers), twice, self._most, self._first, self._last)


def _picture() -> bytes:
    """As large as those of services are: a picture with some grain."""
    grain = np.random.default_rng(0).integers(0, 24, (720, 1280, 3), np.uint8)
    across = np.linspace(0, 200, 1280).astype(np.uint8)[None, :, None]
    file = io.BytesIO()
    Image.fromarray(grain + across).save(file, "PNG", compress_level=1)
    return file.getvalue()


@cache
def _voice() -> Any:
    return spoken(recording("two_cities"))


def _sound(seconds: float) -> bytes:
    """A voice, for so long."""
    samples = np.resize(_voice(), round(seconds * RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setparams((1, 2, RATE, len(samples), "NONE", ""))
        made.writeframes(samples.astype(np.int16).tobytes())
    return file.getvalue()


MediaServices = Steering[MediaPace, MediaTally]
"""The server in its process. `url` is the address of both APIs."""


@contextmanager
def drawing_and_speaking() -> Iterator[MediaServices]:
    """The server for the length of the block."""
    with steered(_Server, MediaPace(0.0, 0.0, 1.0)) as services:
        yield services
