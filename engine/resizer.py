"""Applies the `workers = "auto"` policy to the pools of a run: often at first, seldom once calm."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from engine.autosize import Autosizer, Window, maximum_workers, pause_before_next
from engine.child import children
from engine.pool import Pool


def available_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadTimes:
    """How many seconds the threads of each stage, and those of its processes, had a core or waited
    for one. Linux alone says so (the first two figures of a thread's schedstat, in nanoseconds)."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[int, int]] = {}
        self.apart = 0.0
        """Seconds that those of other processes had a core, between the last two calls."""

    def since_last(self) -> Mapping[str, float] | None:
        """By stage, since the last call; None where it is not to be had."""
        if not Path("/proc/self/schedstat").exists():
            return None
        wanted: Counter[str] = Counter()
        now: dict[int, tuple[int, int]] = {}
        apart = 0
        for stage, process, thread in self._threads():
            try:
                text = Path(f"/proc/{process}/task/{thread}/schedstat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            had, waited = (int(figure) for figure in text.split()[:2])
            now[thread] = had, waited
            had_before, waited_before = self._before.get(thread, (0, 0))
            wanted[stage] += had + waited - had_before - waited_before
            if process != "self":
                apart += had - had_before
        self._before, self.apart = now, apart / 1e9
        return {stage: nanoseconds / 1e9 for stage, nanoseconds in wanted.items()}

    @staticmethod
    def _threads() -> Iterator[tuple[str, str, int]]:
        """Stage, process and thread."""
        for thread in threading.enumerate():
            if thread.native_id is not None and thread.name.startswith("penstock-"):
                stage = thread.name.removeprefix("penstock-").rpartition("-")[0]
                yield stage, "self", thread.native_id
        for process, stage in children().items():
            with suppress(FileNotFoundError, ProcessLookupError):
                for entry in Path(f"/proc/{process}/task").iterdir():
                    yield stage, str(process), int(entry.name)


class Resizer:
    """Call `resize` after `pause` seconds, again and again; it compares the pools with how they
    were before."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools
        self._cores = available_cores()
        self._autosizer = Autosizer(self._cores)
        self._before = {name: pool.statistics() for name, pool in pools.items()}
        self._clock = self._changed = time.monotonic()
        self._processor = time.process_time()
        self._threads = ThreadTimes()

    @property
    def has_work(self) -> bool:
        """Whether any pool has `workers = "auto"`."""
        return any(pool.options.workers == "auto" for pool in self._pools.values())

    @property
    def pause(self) -> float:
        """Seconds to wait before the next look."""
        return pause_before_next(self._clock - self._changed)

    def resize(self) -> None:
        """Look at what the pools did since the last call, and resize those that are automatic."""
        clock, processor = time.monotonic(), time.process_time()
        seconds, used = clock - self._clock, processor - self._processor
        self._clock, self._processor = clock, processor
        wanted = self._threads.since_last()
        used += self._threads.apart
        windows = {
            name: self._window(name, pool, seconds, wanted) for name, pool in self._pools.items()
        }
        if not any(window.open for window in windows.values()):
            self._changed = clock  # reading what earlier runs did is no calm that lasts
        cpu = used / (seconds * self._cores) if seconds > 0 else 0.0
        for name, answer in self._autosizer.decide(windows, cpu).items():
            self._pools[name].resize(answer.workers, answer.why)
            self._changed = clock

    def _window(
        self, name: str, pool: Pool, seconds: float, wanted: Mapping[str, float] | None
    ) -> Window:
        now, stage = pool.statistics(), pool.stage
        earlier, self._before[name] = self._before[name], now
        # A process whose processor time is seen is sized as a thread is.
        placement = pool.options.placement if wanted is None else "thread"
        return Window.between(
            earlier,
            now,
            seconds,
            workers=pool.target,
            maximum=maximum_workers(stage.max_workers, self._cores, placement),
            automatic=pool.options.workers == "auto",
            on_loop=stage.is_async(),
            wanted=None if wanted is None or seconds <= 0 else wanted.get(name, 0.0) / seconds,
        )
