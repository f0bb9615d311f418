"""Records a run's history: samples of its pools and its machine, in the ledger."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import psutil

from engine.contract.errors import StopRun
from engine.ledger.group_commit import GroupCommit
from engine.telemetry.children import children
from engine.telemetry.cores import available_cores
from engine.telemetry.statistics import PoolStatistics, Sample

log = logging.getLogger("penstock.engine")

INTERVAL = 0.5
"""Seconds between the first samples. It doubles whenever there are MOST of them."""

MOST = 400
"""The most samples of a run that are kept: beyond it, every second one is deleted."""


class History:
    """Samples a run until `keep` is cancelled.

    However long the run, the ledger holds between MOST / 2 and MOST samples of it, evenly spaced.
    """

    def __init__(
        self,
        commit: GroupCommit,
        run: int,
        snapshot: Callable[[], Sequence[PoolStatistics]],
        workdir: Path,
        interval: float = INTERVAL,
    ) -> None:
        self._commit = commit
        self._run = run
        self._snapshot = snapshot
        self._workdir = workdir
        self._interval = interval
        self._stride = 1
        self._tick = 0

    async def keep(self) -> None:
        """Sample again and again; when cancelled, once more. Raises StopRun where the ledger
        cannot be written."""
        try:
            while True:
                await anyio.sleep(self._interval * self._stride)
                await self._sample()
                if self._tick >= MOST * self._stride:
                    await self._thin()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(StopRun):  # the run reports it
                await self._sample()
            raise

    async def _sample(self) -> None:
        pools = self._snapshot()
        if not any(pool.worker_seconds for pool in pools):
            return  # nothing has begun: a run that finds everything done leaves no history
        try:
            sample = _look(self._workdir, pools)
        except (OSError, psutil.Error) as error:  # a gap in a curve is no reason to end the run
            log.info("the run's history lacks a sample: %s", error)
            return
        self._tick += self._stride
        tick = self._tick
        await self._commit.do(lambda ledger: ledger.add_sample(self._run, tick, sample))

    async def _thin(self) -> None:
        self._stride *= 2
        self._tick -= self._tick % self._stride
        stride = self._stride
        await self._commit.do(lambda ledger: ledger.thin_samples(self._run, stride))


def _look(workdir: Path, pools: Sequence[PoolStatistics]) -> Sample:
    return Sample(
        time=time.time(),
        cores=available_cores(),
        processor=_processor_seconds(),
        memory=_memory(),
        free_disk=shutil.disk_usage(workdir).free,
        pools=pools,
    )


def _memory() -> int:
    """Bytes of this process and of those of its stages; what they share counts in each."""
    used = 0
    for pid in (os.getpid(), *children()):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            used += psutil.Process(pid).memory_info().rss
    return used


def _processor_seconds() -> float:
    """Seconds that the cores which this process may use have been busy, since some moment."""
    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        mine = os.sched_getaffinity(0)
        cores = [core for number, core in enumerate(cores) if number in mine] or cores
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(core, kind, 0.0) for core in cores for kind in kinds)
