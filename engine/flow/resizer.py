"""Applies the `workers = "auto"` policy to the pools of a run: often at first, seldom once calm."""

import time
from collections.abc import Callable, Mapping

import anyio

from engine.flow.autosize import Autosizer, Window, maximum_workers, pause_before_next
from engine.flow.pool import Pool
from engine.telemetry.cores import available_cores
from engine.telemetry.thread_times import ThreadTimes


class Resizer:
    """Applies the policy: call `resize` after each `pause` seconds; it compares the pools'
    statistics with those of the call before."""

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

    async def keep(self, goes_on: Callable[[], bool]) -> None:
        """Resize the pools again and again, as long as it `goes_on`."""
        while self.has_work and goes_on():
            await anyio.sleep(self.pause)
            if goes_on():  # otherwise a new worker would find nothing to take
                self.resize()

    @property
    def pause(self) -> float:
        """Seconds to wait before the next look."""
        return pause_before_next(self._clock - self._changed)

    def resize(self) -> None:
        """Measure the pools since the last call, and resize those with `workers = "auto"`."""
        clock, processor = time.monotonic(), time.process_time()
        seconds, used = clock - self._clock, processor - self._processor
        self._clock, self._processor = clock, processor
        wanted = self._threads.since_last()
        used += self._threads.apart
        windows = {
            name: self._window(name, pool, seconds, wanted) for name, pool in self._pools.items()
        }
        if not any(window.open for window in windows.values()):
            self._changed = clock  # a time of reusing earlier results tells nothing about the pools
        cpu = used / (seconds * self._cores) if seconds > 0 else 0.0
        for name, answer in self._autosizer.decide(windows, cpu).items():
            self._pools[name].resize(answer.workers, answer.why)
            self._changed = clock

    def _window(
        self, name: str, pool: Pool, seconds: float, wanted: Mapping[str, float] | None
    ) -> Window:
        now, stage = pool.statistics(), pool.stage
        earlier, self._before[name] = self._before[name], now
        is_placed = pool.options.placement == "ray"
        if is_placed:
            wanted = None  # its processes are not of this machine
        # A process whose processor time is measured is sized like a thread.
        placement = pool.options.placement if wanted is None else "thread"
        return Window.between(
            earlier,
            now,
            seconds,
            workers=pool.target,
            maximum=maximum_workers(
                stage.most_workers(pool.options.placement), self._cores, placement
            ),
            automatic=pool.options.workers == "auto",
            off_cores=stage.is_async() or is_placed,
            wanted=None if wanted is None or seconds <= 0 else wanted.get(name, 0.0) / seconds,
        )
