"""Processor time of an attempt: its time on a core, and its time waiting for a free one."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SCHEDULER = "/proc/thread-self/schedstat"
"""Where Linux reports on the reading thread: nanoseconds on a core, nanoseconds waiting for one."""


@dataclass(slots=True)
class ProcessorTime:
    """Seconds of one attempt on a core (`used`), and waiting for a free one (`delayed`; None where
    the operating system does not report it).

    Both are of the thread that the attempt runs in, or of the process that was started for it. The
    time of a library's helper threads is not included: see `run_seconds`.
    """

    used: float = 0.0
    delayed: float | None = None

    def shared_by(self, count: int) -> "ProcessorTime":
        """One item's share of the cost of a batch of `count`."""
        return ProcessorTime(self.used / count, self.delayed and self.delayed / count)


class _Stopwatch:
    """A class rather than a generator, which costs more: every attempt makes one."""

    __slots__ = ("_clock", "_delayed", "_found", "_used")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found = ProcessorTime()
        self._used = 0.0
        self._delayed: float | None = None

    def __enter__(self) -> ProcessorTime:
        self._delayed, self._used = _own.delayed(), self._clock()
        return self._found

    def __exit__(self, *_: object) -> None:
        self._found.used = self._clock() - self._used
        now = _own.delayed()
        if now is not None and self._delayed is not None:
            self._found.delayed = now - self._delayed


def measured(*, whole_process: bool = False) -> _Stopwatch:
    """Measure the block. It has to begin and end in one thread; with `whole_process` the process
    and its children are measured. The figures are there once the block has ended."""
    return _Stopwatch(run_seconds if whole_process else time.thread_time)


def run_seconds() -> float:
    """Processor seconds of this process and of its children that have been
    waited for, until now."""
    times = os.times()  # in hundredths of a second: too coarse for our own
    return time.process_time() + times.children_user + times.children_system


class _OwnScheduling(threading.local):
    """This thread's scheduler file, kept open: it is read at both ends of every attempt."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open(SCHEDULER, os.O_RDONLY)
        except OSError:  # another operating system, or a Linux built without it
            self._file = None

    def delayed(self) -> float | None:
        if self._file is None:
            return None
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


_own = _OwnScheduling()
