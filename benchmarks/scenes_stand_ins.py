"""A captioner, a detector and a tagger of sounds that take as long as they are told, and find the
same in everything: for the classes that `penstock scenes` runs its models by.

A call takes a while, and more for each picture or window. So many small calls take long, and the
same in batches does not. Each is a device: one call at a time, as on a GPU.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from engine import Loan, borrow
from stages.models.detector import Detection
from stages.models.network_input import Prepared
from stages.scenes.perception import captions, objects, sounds
from stages.sound.ast_tagger import USUAL

_LATE = 0.002
"""Seconds after a call within which the next one counts as begun at its end: a thread that sleeps
wakes up a little late."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that a call takes, and more for each thing in it."""

    call: float
    thing: float

    def of(self, things: int) -> float:
        return self.call + self.thing * things

    def scaled(self, scale: float) -> "Latency":
        return Latency(self.call * scale, self.thing * scale)


class Device:
    """Does nothing for as long as calls take, one after the other. `busy`: seconds of calls."""

    def __init__(self, latency: Latency) -> None:
        self.busy = 0.0
        self._latency = latency
        self._lock = threading.Lock()
        self._free = 0.0

    def work(self, things: int) -> None:
        with self._lock:
            now = time.monotonic()
            begin = self._free if now - self._free < _LATE else now
            self._free = begin + self._latency.of(things)
            time.sleep(max(0.0, self._free - now))
            self.busy += time.monotonic() - begin


class StandInTagger:
    """In the place of `AstTagger`. Somebody speaks in each window."""

    labels: Sequence[str] = ("Speech", "Music")

    def __init__(self, latency: Latency, scale: float) -> None:
        self.name = "stand-in"
        self.usual = self.longest = USUAL * scale
        self.device = Device(latency)

    def scores(self, windows: Sequence[Any]) -> Any:
        self.device.work(len(windows))
        return np.tile(np.array([0.9, 0.05], np.float32), (len(windows), 1))


class StandInCaptioner:
    """In the place of `Captioner`, for batches of up to `batch`."""

    def __init__(self, latency: Latency, batch: int) -> None:
        self.device = Device(latency)
        self._batch = batch

    def captions(self, pictures: Sequence[Any]) -> list[str]:
        for begin in range(0, len(pictures), self._batch):
            self.device.work(len(pictures[begin : begin + self._batch]))
        return ["a pattern"] * len(pictures)


class StandInDetector:
    """In the place of `Detector`, as on a GPU: batches of up to `batch`, one picture after the
    other prepared while it is at work."""

    streams = 1

    def __init__(self, latency: Latency, batch: int) -> None:
        self.batch = batch
        self.weights = Path("stand-in")
        self.model = SimpleNamespace(device="stand-in")
        self.device = Device(latency)
        self._pool = ThreadPoolExecutor(1, "stand-in")

    def prepare(self, image: Any) -> Prepared:
        return Prepared(image, image.shape[:2])

    def submit(self, images: Sequence[Prepared]) -> Future[list[list[Detection]]]:
        return self._pool.submit(self.look, len(images))

    def look(self, images: int) -> list[list[Detection]]:
        self.device.work(images)
        return [[Detection("person", 0.9, (20.0, 10.0, 40.0, 50.0))] for _ in range(images)]

    def close(self) -> None:
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Latencies:
    """Those of the three, in seconds of a clock that runs at `scale` of the usual one."""

    tagger: Latency
    detector: Latency
    captioner: Latency
    scale: float = 1.0

    def make_tagger(self) -> StandInTagger:
        return StandInTagger(self.tagger.scaled(self.scale), self.scale)

    def make_captioner(self, batch: int) -> StandInCaptioner:
        return StandInCaptioner(self.captioner.scaled(self.scale), batch)

    def make_detector(self, batch: int) -> StandInDetector:
        return StandInDetector(self.detector.scaled(self.scale), batch)


@dataclass(slots=True)
class MadeDevices:
    """The devices of the stand-ins of a run, each by the step that has it."""

    made: list[tuple[str, Device]] = field(default_factory=list)

    def busy(self) -> Mapping[str, float]:
        """Seconds of calls, by step."""
        seconds = dict.fromkeys((step for step, _ in self.made), 0.0)
        for step, device in self.made:
            seconds[step] += device.busy
        return seconds


@contextmanager
def standing_in(latencies: Latencies) -> Iterator[MadeDevices]:
    """In the block the three steps get these in the place of loaded models."""
    devices = MadeDevices()

    def detect(batch: int) -> StandInDetector:
        made = latencies.make_detector(batch)
        devices.made.append(("objects", made.device))
        return made

    def lend(*_: Any, batch: int, **__: Any) -> Loan[StandInDetector]:
        return borrow("stand-in", lambda: detect(batch), StandInDetector.close)

    def caption(*_: Any, batch: int, **__: Any) -> StandInCaptioner:
        made = latencies.make_captioner(batch)
        devices.made.append(("captions", made.device))
        return made

    def tag(*_: Any, **__: Any) -> StandInTagger:
        made = latencies.make_tagger()
        devices.made.append(("sounds", made.device))
        return made

    with ExitStack() as stack:
        stack.enter_context(patch.object(objects, "borrow_detector", lend))
        stack.enter_context(patch.object(captions, "Captioner", caption))
        stack.enter_context(patch.object(sounds, "AstTagger", tag))
        yield devices
