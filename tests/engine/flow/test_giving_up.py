"""Items that nobody waits for any more leave the run: nothing begins with them, nothing of what is
in hand is kept, and what they had done stands."""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Item, Job, Parts, Pipeline, Source
from engine.contract.item import item_id
from engine.flow.report import RunReport
from engine.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
)
from tests.engine.toy_parts import Cutter, at, cut
from tests.engine.toys import (
    LoopObedient,
    Obedient,
    Step,
    engine_threads,
    executions,
    leftovers,
    line,
    outcomes,
    query,
    run_within,
    toy,
)

SECONDS = 60


class Recalls(Source):
    """Gives these jobs, and withdraws each of which `take_back` is called; more may follow."""

    def __init__(self, *given: str | Job) -> None:
        self.jobs = [Job.of(one) for one in given]
        self.told: list[tuple[str, str]] = []
        self._coming: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        for job in self.jobs:
            self._coming.put(job)

    def give(self, *given: str) -> None:
        for one in given:
            self.jobs.append(Job.of(one))
            self._coming.put(self.jobs[-1])

    def end(self) -> None:
        self._coming.put(None)

    def take_back(self, number: int = 0) -> None:
        self._back.put(self.jobs[number])

    def items(self) -> Iterator[Job]:
        return iter(self._coming.get, None)

    def withdrawn(self) -> Iterator[Job]:
        return iter(self._back.get, None)

    def ended(self, job: Job, outcome: str) -> None:
        self._hear(job, outcome)

    def lost(self, job: Job) -> None:
        self._hear(job, "lost")

    def _hear(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome))
        if len(self.told) == len(self.jobs):
            self._back.put(None)


def go(
    pipeline: Pipeline,
    workdir: Path,
    source: Any,
    *overrides: str,
    listen: Callable[[Event], None] = lambda event: None,
) -> RunReport:
    return run_within(SECONDS, pipeline, workdir, source, *overrides, listen=listen)


def pending(workdir: Path) -> list[str]:
    return [stage for (stage, _), (outcome, _) in outcomes(workdir).items() if outcome == "pending"]


@pytest.mark.parametrize("kind", ["thread", "loop", "process", "batch"])
def test_what_is_in_hand_is_cut_short_and_becomes_no_output(kind: str, fast: Path) -> None:
    stage = LoopPatient if kind == "loop" else Obedient
    settings = [f"stages.{stage.name}.batch=2"] if kind == "batch" else []
    if kind == "process":
        settings.append("stages.obedient.placement=process")
    pipeline = line(toy("a"), Step(stage, "a"), toy("c", stage.name))
    source = Recalls("patient")

    def listen(event: Event) -> None:
        if isinstance(event, AttemptStarted) and event.stage == stage.name and len(source.told) < 1:
            source.take_back()
            source.end()

    report = go(pipeline, fast, source, *settings, listen=listen)
    assert source.told == [("patient", "lost")]
    assert report.items == {"done": 0, "dropped": 0, "failed": 0, "reused": 0}
    assert query(fast, "SELECT outcome FROM items") == [("pending",)]
    assert pending(fast) == [stage.name]
    assert query(fast, "SELECT outcome, kind FROM attempts WHERE stage != 'a'") == [
        ("interrupted", "withdrawn")
    ]
    assert leftovers(fast) == []
    assert engine_threads() == []


class LoopPatient(LoopObedient):
    """Waits on the event loop, for ever."""

    async def process(self, item: Item, out: Path) -> Any:
        import anyio

        await anyio.sleep_forever()


def test_others_go_on_and_what_was_done_stands(fast: Path) -> None:
    """v waits for a server that has asked for an hour."""
    does = {"v": ["throttled", 1, 3600]}
    pipeline = line(toy("a"), toy("b", "a", does=does), toy("c", "b"))
    source = Recalls("v", "w")

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded) and event.item == item_id("w"):
            source.take_back()
            source.end()

    go(pipeline, fast, source, listen=listen)
    assert sorted(source.told) == [("v", "lost"), ("w", "done")]
    assert pending(fast) == ["b"]
    again = go(pipeline, fast, ["v", "w"])
    assert again.items["done"] == 2
    assert executions(fast)["a", item_id("v")] == 1
    assert executions(fast)["b", item_id("v")] == 2


def test_a_job_may_come_again_in_the_same_run(fast: Path) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={"v": ["throttled", 1, 3600]}))
    source, events = Recalls("v"), list[Event]()

    def listen(event: Event) -> None:
        events.append(event)
        if getattr(event, "outcome", None) == "throttled":
            source.take_back()
        elif isinstance(event, ItemGivenUp):
            source.give("v")
            source.end()

    report = go(pipeline, fast, source, listen=listen)
    assert source.told == [("v", "lost"), ("v", "done")]
    assert report.items["done"] == 1
    assert executions(fast)["a", item_id("v")] == 1
    assert [type(one).__name__ for one in events if "Item" in type(one).__name__] == [
        "ItemEntered", "ItemGivenUp", "ItemEntered", "ItemEnded",
    ]  # fmt: skip


def test_an_item_goes_on_for_another_job_that_wants_it(fast: Path) -> None:
    pipeline = line(toy("a"), Step(Obedient, "a"))
    source = Recalls("hang release", "hang release", "done")

    def listen(event: Event) -> None:
        if isinstance(event, ItemEnded) and event.item == item_id("done"):
            source.take_back()

    original = source._hear

    def hear(job: Job, outcome: str) -> None:
        original(job, outcome)
        if outcome == "lost":
            (fast / "release").touch()
            source.end()

    source._hear = hear  # type: ignore[method-assign]
    report = go(pipeline, fast, source, "stages.obedient.workers=2", listen=listen)
    assert source.told == [("done", "done"), ("hang release", "lost"), ("hang release", "done")]
    assert report.items["done"] == 2


def test_a_list_leaves_with_what_it_holds(fast: Path) -> None:
    """But for what another list holds too, or another job names."""
    does = {"one": ["expand", ["v1", "v2", "v3"]], "two": ["expand", ["v3"]]}
    slow = {"v1": ["throttled", 1, 3600], "v2": ["throttled", 2, 0.05]}
    pipeline = line(toy("a", does=does), toy("b", "a", does=slow))
    source = Recalls("v2")
    gone: list[str] = []

    def listen(event: Event) -> None:
        match event:
            case ItemEntered() if event.item == item_id("v2"):
                source.give("two", "one")
            case AttemptEnded() if event.outcome == "throttled" and event.item == item_id("v1"):
                source.take_back(2)
            case ItemGivenUp():
                gone.append(event.item)
                source.end()

    go(pipeline, fast, source, listen=listen)
    assert sorted(source.told) == [("one", "lost"), ("two", "done"), ("v2", "done")]
    assert set(gone) == {item_id("v1"), item_id("one")}
    assert go(pipeline, fast, ["two", "one", "v2"]).items["failed"] == 0


class SlowCutter(Cutter):
    """Makes parts until nobody wants them any more."""

    def split(self, item: Item, out: Path, parts: Parts) -> Any:
        if (self.workdir / "again").exists():
            super().split(item, out, parts)
            return
        for position in range(10**6):
            with parts.make() as folder:
                self.write(item, position, folder)


def test_its_parts_leave_with_it(fast: Path) -> None:
    pipeline = line(cut("c", base=SlowCutter, cuts={"v": 3}), at("c", "f"), toy("d", "c"))
    source = Recalls("v")
    begun = 0

    def listen(event: Event) -> None:
        nonlocal begun
        if isinstance(event, AttemptStarted) and event.stage == "f":
            begun += 1
            if begun == 5:
                source.take_back()
                source.end()

    go(pipeline, fast, source, "stages.f.queue=2", listen=listen)
    assert source.told == [("v", "lost")]
    assert leftovers(fast) == []
    assert query(fast, "SELECT outcome FROM items WHERE parent IS NULL") == [("pending",)]
    (fast / "again").touch()
    assert go(pipeline, fast, ["v"]).items["done"] == 1
    assert {outcome for outcome, _ in outcomes(fast).values()} == {"done"}
    assert query(fast, "SELECT count(*) FROM items WHERE parent IS NOT NULL") == [(3,)]
