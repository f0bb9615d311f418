"""Looks at a crawl from outside, again and again: its processes, its work folder, the cores."""

import os
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil

MOST_OF_A_CORE = 0.02
"""The share of a core that looking may take: the cores are those that what is looked at needs."""


class Looking(ABC):
    """A thread that looks every `every` seconds, or less often where a look takes long, for the
    length of a `with` block."""

    every = 0.2

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self.every
        while not self._over.wait(pause):
            began = time.thread_time()
            self.look()
            pause = max(self.every, (time.thread_time() - began) / MOST_OF_A_CORE)

    @abstractmethod
    def look(self) -> None:
        """One look."""


class ProcessWatch(Looking):
    """Looks at a process and its children: memory and disk at their highest, and the processor time
    that all of them used."""

    def __init__(self, process: psutil.Process, folder: Path) -> None:
        super().__init__()
        self.memory = 0.0
        self.disk = 0.0
        self._process = process
        self._folder = folder
        self._seconds: dict[tuple[int, float], float] = {}
        self._looks = 0

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values())

    def look(self) -> None:
        self._look_at_processes()
        if self._looks % 5 == 0:  # the folder is walked once a second
            self.disk = max(self.disk, _size(self._folder))
        self._looks += 1

    def _look_at_processes(self) -> None:
        memory = 0
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                    key = (process.pid, process.create_time())
            except psutil.NoSuchProcess:
                continue
            self._seconds[key] = times.user + times.system
        self.memory = max(self.memory, memory / 1e6)


def _size(folder: Path) -> float:
    """The megabytes in a folder, hard links counted once."""
    found: dict[int, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                entry = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - in a hot loop
            except FileNotFoundError:
                continue
            found[entry.st_ino] = entry.st_blocks * 512
    return sum(found.values()) / 1e6


class FrameWatch(Looking):
    """Looks at a crawl's frames on the disk, wherever below `folder` its items lie.

    Raw frames are the pictures in outputs of extract, those in the making included. `described` is
    the moment, by the monotonic clock, when a finished output with descriptions was first seen.
    """

    every = 0.25

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.frames = 0
        self.megabytes = 0.0
        self.described: float | None = None
        self._folder = folder

    def look(self) -> None:
        count = size = 0
        for parent, folders, names in os.walk(self._folder):
            steps = Path(parent).parts
            # Not "extract.parts", in which other steps' outputs lie too.
            if any(step == "extract" or step.startswith(".extract.") for step in steps):
                sizes = [_bytes(parent, name) for name in names if name.endswith(".jpg")]
                count, size = count + len(sizes), size + sum(sizes)
            elif self.described is None and "descriptions.jsonl" in names:
                if not any(step.startswith(".") for step in steps):
                    self.described = time.monotonic()
            elif Path(parent).name == "filter":
                folders.clear()  # links to frames that are counted where they were made
        self.frames = max(self.frames, count)
        self.megabytes = max(self.megabytes, size / 1e6)


def _bytes(parent: str, name: str) -> int:
    try:
        return os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - in a hot loop
    except FileNotFoundError:
        return 0


class CoreLook(NamedTuple):
    """The seconds that each of the machine's cores had been idle by then, whoever used it
    otherwise; `at` is the time of day, `clock` the monotonic clock."""

    at: float
    clock: float
    idle: tuple[float, ...]


class CoreWatch(Looking):
    """Looks at the machine's cores."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[CoreLook] = []
        self.look()

    def look(self) -> None:
        cores = psutil.cpu_times(percpu=True)
        idle = tuple(core.idle + getattr(core, "iowait", 0) for core in cores)
        self.looks.append(CoreLook(time.time(), time.monotonic(), idle))

    def idle_until(self, at: float) -> list[float]:
        """The seconds that each core was idle from the first look until that time of day."""
        last = max((look for look in self.looks if look.at <= at), default=self.looks[0])
        return [now - then for now, then in zip(last.idle, self.looks[0].idle, strict=True)]
