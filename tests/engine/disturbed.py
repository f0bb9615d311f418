"""Runs that are drained, cancelled or resized, or that give items up, at a random moment, and are
watched at every event."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from engine import Job, Pipeline
from engine.flow.opening import opened_run
from engine.flow.report import RunReport
from engine.flow.run import Run
from engine.telemetry.events import (
    Event,
    Events,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
    PoolResized,
)
from tests.engine import toys
from tests.engine.toys import configured

SECONDS = 20.0
"""The most that a run may take: one that takes longer hangs."""


class Case(Protocol):
    """What a test runs: a pipeline, its source, and its settings."""

    @property
    def pipeline(self) -> Pipeline: ...

    @property
    def sources(self) -> Sequence[str]: ...

    def overrides(self) -> list[str]: ...


@dataclass
class Disturbance:
    """At the `moment`-th event of a run: drain it, cancel it, resize its pools, or give up every
    other item that is under way. Or, "expire": every other job has a deadline that passes after so
    many milliseconds, and each a priority. The run has these further settings."""

    kind: str
    moment: int
    overrides: Sequence[str] = ()


def jobs_of(case: Case, disturbance: Disturbance | None) -> Sequence[str | Job]:
    """The case's source; where jobs expire, it has priorities too."""
    if disturbance is None or disturbance.kind != "expire":
        return case.sources
    at = time.time() + disturbance.moment / 1000
    return [
        Job(source, priority=number % 3, deadline=at if number % 2 else None)
        for number, source in enumerate(case.sources)
    ]


class Watch:
    """Looks at the pools at every event, and disturbs the run when its moment has come."""

    def __init__(self, run: Run, disturbance: Disturbance | None, scope: anyio.CancelScope) -> None:
        self.run, self.disturbance, self.scope = run, disturbance, scope
        self.events = 0
        self.most = {name: pool.options.workers for name, pool in run.pools.items()}
        self.overfull: list[str] = []
        self.under_way: list[str] = []
        self.unwanted = anyio.Event()
        self.gone: set[str] = set()

    async def give_up(self) -> None:
        """Give up every other item that is under way, once it is time to."""
        await self.unwanted.wait()
        for item in self.under_way[::2]:
            await self.run.give_up(item)

    def __call__(self, event: Event) -> None:
        if isinstance(event, PoolResized):
            self.most[event.stage] = max(self.most[event.stage], event.before, event.after)
        if isinstance(event, ItemEntered):
            self.under_way.append(event.item)
        elif isinstance(event, ItemEnded | ItemGivenUp):
            self.under_way.remove(event.item)
        if isinstance(event, ItemGivenUp):
            self.gone.add(event.item)
        for name, pool in self.run.pools.items():
            now = pool.statistics()
            held = now.waiting + now.in_hand + now.held
            is_root = name in self.run.pipeline.roots  # there, what is held does not count
            if now.waiting > now.queue or not (is_root or held <= now.queue + self.most[name]):
                self.overfull.append(f"{name}: {now}")
        if self.disturbance is not None and self.events == self.disturbance.moment:
            self._disturb(self.disturbance.kind)
        self.events += 1

    def _disturb(self, kind: str) -> None:
        if kind == "drain":
            self.run.drain("interrupted", "at random")
        elif kind == "cancel":
            self.scope.cancel()
        elif kind == "give up":
            self.unwanted.set()
        elif kind == "resize":
            self.disturbance = None
            for number, pool in enumerate(self.run.pools.values()):
                pool.resize(1 + (number + self.events) % 4)


def run_once(
    case: Case,
    workdir: Path,
    disturbance: Disturbance | None,
    *more: str,
    listen: Callable[[Event], None] = lambda event: None,
) -> RunReport | None:
    """One run of the case, None if it was cancelled; nothing may be overfull, leak, or hang."""
    pipeline, events, failures = case.pipeline, Events(), toys.Failures()
    config = configured(pipeline, *case.overrides(), *more)
    jobs = jobs_of(case, disturbance)

    async def main() -> tuple[RunReport | None, list[str]]:
        report = None
        before = {task.id for task in anyio.get_running_tasks()}
        with anyio.fail_after(SECONDS), anyio.CancelScope() as scope:
            async with opened_run(pipeline, config, workdir, jobs, events) as run:
                watch = Watch(run, disturbance, scope)
                events.subscribe(watch)
                events.subscribe(failures)
                events.subscribe(listen)
                report = await run.execute([watch.give_up])
        left = [t.name or "" for t in anyio.get_running_tasks() if t.id not in before]
        assert left == []
        return report, watch.overfull

    report, overfull = anyio.run(main)
    assert overfull == [], overfull[:3]
    assert failures.told == []
    assert toys.engine_threads() == []
    assert report is None or report.discrepancies == [], report.discrepancies
    if report is not None and report.outcome == "done":
        left_over = [(p.waiting, p.in_hand, p.held) for p in report.pools.values()]
        assert set(left_over) <= {(0, 0, 0)}, "a pool counts what is not there"
    return report
