"""Applies the `workers = "auto"` policy to the pools of a run, now and then."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from engine.autosize import Window, decide, maximum_workers
from engine.pool import Pool

INTERVAL = 5.0
"""Seconds between two looks. Long against a service time, the figures are steadier."""


def available_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Resizer:
    """Call `resize` every INTERVAL seconds; it compares the pools with how they were before."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools
        self._cores = available_cores()
        self._before = {name: pool.statistics() for name, pool in pools.items()}
        self._clock = (time.monotonic(), time.process_time())

    @property
    def has_work(self) -> bool:
        """Whether any pool has `workers = "auto"`."""
        return any(pool.options.workers == "auto" for pool in self._pools.values())

    def resize(self) -> None:
        """Look at what the pools did since the last call, and resize those that are automatic."""
        windows = {}
        for name, pool in self._pools.items():
            now = pool.statistics()
            on_loop = pool.stage.is_async()
            window = Window.between(
                self._before[name],
                now,
                maximum=maximum_workers(pool.stage.max_workers, self._cores, on_loop=on_loop),
                automatic=pool.options.workers == "auto",
                on_loop=on_loop,
            )
            windows[name] = replace(window, workers=pool.target)
            self._before[name] = now
        for name, workers in decide(windows, self._cores, cpu=self._cpu()).items():
            window = windows[name]
            why = f"busy {window.busy:.0%}, {window.waiting} of {window.queue} waiting"
            self._pools[name].resize(workers, why)

    def _cpu(self) -> float:
        """The share of the cores' time that this process used since the last call."""
        now = (time.monotonic(), time.process_time())
        (wall, cpu), self._clock = (now[0] - self._clock[0], now[1] - self._clock[1]), now
        return cpu / (wall * self._cores) if wall else 0.0
