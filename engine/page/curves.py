"""The history of runs as curves: queue depths, the workers' time, pace, and the machine."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from engine.page.timeline import Span
from engine.telemetry.statistics import PoolStatistics, Sample

MOST = 1000
"""The most samples drawn. Of more samples, every n-th one is drawn."""

Curve = list[float | None]


def curves(
    history: Mapping[int, Sequence[Sample]], spans: Sequence[Span], stages: Sequence[str]
) -> dict[str, Any]:
    """Columns over time, JSON-able; None is not drawn.

    `history` has the samples of each run. `busy`, `starved` and `blocked` are percent of the
    stage's worker time since the sample before, `pace` the items that ended in the stage per
    minute, `waiting` and `held` items at that moment; `processor` is percent of the cores' time,
    `memory` and `disk` are bytes.
    """
    step = max(1, ceil(sum(map(len, history.values())) / MOST))
    machine: dict[str, Curve] = {"time": [], "processor": [], "memory": [], "disk": []}
    pools = {stage: _Pool() for stage in stages}
    for span in spans:
        samples = history.get(span.run, ())
        before: Sample | None = None
        for sample in samples[(len(samples) - 1) % step :: step] if samples else ():
            machine["time"].append(span.at(sample.time))
            machine["processor"].append(processor_share(before, sample))
            machine["memory"].append(sample.memory)
            machine["disk"].append(sample.free_disk)
            earlier = {pool.stage: pool for pool in before.pools} if before else {}
            now = {pool.stage: pool for pool in sample.pools}
            seconds = sample.time - (before.time if before else span.started)
            for stage, pool in pools.items():
                pool.add(earlier.get(stage), now.get(stage), seconds)
            before = sample
        if samples:  # a gap in the line between two runs
            for column in machine.values():
                column.append(None)
            machine["time"][-1] = machine["time"][-2]
            for pool in pools.values():
                pool.interrupt()
    return {**machine, "pools": {stage: pool.columns for stage, pool in pools.items()}}


def processor_share(before: Sample | None, sample: Sample) -> float | None:
    """Percent of the cores' time that was used between two samples; None if not known."""
    share = sample.processor_since(before) if before is not None else None
    return _percent(share) if share is not None else None


class _Pool:
    """The columns of one stage."""

    def __init__(self) -> None:
        kinds = ("waiting", "held", "workers", "busy", "starved", "blocked", "pace")
        self.columns: dict[str, Curve] = {kind: [] for kind in kinds}

    def add(
        self, before: PoolStatistics | None, now: PoolStatistics | None, seconds: float
    ) -> None:
        if now is None:
            self.interrupt()
            return
        passed = now if before is None else now.since(before)
        alive = passed.worker_seconds > 0
        for kind in ("waiting", "held", "workers"):
            self.columns[kind].append(getattr(now, kind))
        for kind in ("busy", "starved", "blocked"):
            share = passed.share(getattr(passed, kind))
            self.columns[kind].append(_percent(min(share, 1.0)) if alive else None)
        pace = 60 * passed.ended / seconds if seconds > 0 else None
        self.columns["pace"].append(pace if pace is None else round(pace, 2))

    def interrupt(self) -> None:
        for column in self.columns.values():
            column.append(None)


def _percent(share: float) -> float:
    return round(100 * share, 1)
