"""A resident run keeps nothing of the items that have ended, however many there were."""

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import SOURCE, FinishContext, Item, ItemRecord, Job, Parts, Source, Stage, Step
from engine.flow.opening import opened_run
from engine.flow.run import Run
from engine.page.metrics import Metrics
from engine.telemetry.events import Events
from engine.views.progress import Progress
from tests.engine import toys
from tests.engine.toys import configured, line

WARM, JOBS = 500, 2000


class Cut(Stage):
    """One part of each item."""

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with parts.make({"piece": 1}) as folder:
            (folder / "value").write_text(item.source)


class Work(Stage):
    inputs = "cut"

    def process(self, item: Item, out: Path) -> None:
        (out / "value").write_text(item.source)


class Endless(Source):
    """Gives so many jobs and then none, without an end; counts objects as their ends are told."""

    def __init__(self) -> None:
        self.told = 0
        self.counted: dict[int, Counter[str]] = {}
        self.enough = threading.Event()

    def items(self) -> Iterator[Job]:
        for number in range(JOBS):
            job = Job(
                f"job {number}",
                parameters={"number": number},
                priority=number % 3,
                deadline=4e9 if number % 2 else None,
            )
            yield job
        self.enough.wait()

    def ended(self, job: Job, outcome: str) -> None:
        self.told += 1
        if self.told in (WARM, JOBS):
            gc.collect()
            self.counted[self.told] = Counter(type(one).__name__ for one in gc.get_objects())
        if self.told == JOBS:
            self.enough.set()


def show(context: FinishContext, record: ItemRecord) -> None:
    """A finish of each item."""


@pytest.mark.slow
def test_two_thousand_jobs_leave_nothing_behind() -> None:
    pipeline = line(Step(Cut, after=SOURCE), Step(Work, after="cut", each="cut"), finish_item=show)
    with toys.fast_folder() as workdir:
        assert run_resident(pipeline, workdir) == {}


def run_resident(pipeline: Any, workdir: Path) -> dict[str, int]:
    """Run it; the kinds of objects of which there were many more at the end."""
    source, events = Endless(), Events()

    async def main() -> None:
        config = configured(pipeline, "limits.sync=false")
        with anyio.fail_after(300):
            async with opened_run(pipeline, config, workdir, source, events, resident=True) as run:
                events.subscribe(Progress(run.snapshot))
                events.subscribe(Metrics(run.snapshot))
                await run.execute([lambda: stop(run)])

    async def stop(run: Run) -> None:
        await anyio.to_thread.run_sync(source.enough.wait)
        run.drain("interrupted", "enough")

    anyio.run(main)
    more = source.counted[JOBS] - source.counted[WARM]
    return {name: count for name, count in more.items() if count > (JOBS - WARM) / 10}
