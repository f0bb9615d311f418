"""Routing, with a real ledger and inboxes: what comes in, goes on, is written down, and ends.

The test is all the pools: it takes entries from the inboxes and concludes attempts at them.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine import Pipeline, StopRun
from engine.flow.attempt import Conclusion, Entry
from engine.flow.ending.item_finishes import ItemFinishes
from engine.flow.inbox import Closed, Inbox
from engine.flow.journey.graph import Graph
from engine.flow.routing import Routing
from engine.gates.disk import DiskGate
from engine.gates.failure_budget import FailureBudget
from engine.ledger.group_commit import GroupCommit
from engine.ledger.reader import LedgerReader
from engine.ledger.records import End, Failure
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.sources.jobs import Jobs
from engine.sources.source import as_source
from engine.telemetry.events import Event, Events, ItemEnded, ItemEntered, SourceEnded
from tests.engine.toys import line, outcomes, query, toy

pytestmark = pytest.mark.anyio

LINE = line(toy("a"), toy("b", "a"))
FORK = line(toy("x"), toy("a", "x"), toy("b", "x"))


class Bench:
    """A run of which only the routing is there."""

    def __init__(
        self, pipeline: Pipeline, workdir: Path, sources: Iterable[str], ledger: Ledger
    ) -> None:
        self.workdir = workdir
        self.told: list[Event] = []
        self.stops: list[str] = []
        self.commit = GroupCommit(ledger)
        self.inboxes = {name: Inbox[Entry](1, 1) for name in pipeline.names}
        self.jobs = Jobs(as_source(sources), self.stop)
        events = Events()
        events.subscribe(self.told.append)
        self.routing = Routing(
            pipeline,
            Graph(pipeline, {}),
            workdir,
            self.commit,
            ledger.begin_run(pipeline.name, {}, {}),
            {name: inbox.inlet for name, inbox in self.inboxes.items()},
            DiskGate(workdir, 0, events),
            FailureBudget(0.5, 10, 1),
            events,
            self.jobs,
            ItemFinishes(None, events, self.stop),
            self.stop,
            lambda item: None,
            most_failed={},
            judges={},
            synced=False,
        )

    def stop(self, why: StopRun) -> None:
        self.stops.append(str(why))
        self.routing.drain()

    async def take(self, stage: str) -> Entry:
        entry = await self.inboxes[stage].outlet.take()
        assert entry is not None
        return entry

    async def end(self, entry: Entry, stage: str, outcome: Any = "done", **more: Any) -> None:
        """An attempt at the entry begins, and the stage ends so with it."""
        journey = entry.journey
        fingerprint = journey.begin(stage)
        row = self.routing.attempt_started(journey.item, stage, 1, 1)
        failure = None if outcome == "done" else Failure("told", "told to")
        end = End(stage, outcome, fingerprint, failure=failure, **more)
        await self.routing.concluded(Conclusion(journey, row, outcome, failure, end))
        self.inboxes[stage].outlet.leave()

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


@asynccontextmanager
async def bench(pipeline: Pipeline, workdir: Path, *sources: str) -> AsyncIterator[Bench]:
    """The routing of a new run, which feeds these sources meanwhile."""
    ledger = Ledger(workdir / FILE)
    made = Bench(pipeline, workdir, sources, ledger)
    try:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(made.routing.feed)
                yield made
                tasks.cancel_scope.cancel()
            await made.commit.flush()
    finally:
        made.commit.close()
        ledger.close()
        await made.jobs.close()


async def test_items_go_from_inbox_to_inbox_and_close_them_at_the_end(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "v1", "v2") as run:
        assert await run.routing.has_work()
        for _ in range(2):
            await run.end(await run.take("a"), "a")
            await run.end(await run.take("b"), "b")
        for stage in "ab":
            with pytest.raises(Closed):
                await run.take(stage)
        await run.commit.flush()
        assert run.routing.ended == {"done": 2, "dropped": 0, "failed": 0, "reused": 0}
        assert len(run.heard(ItemEntered)) == len(run.heard(ItemEnded)) == 2
        assert [event.items for event in run.heard(SourceEnded)] == [2]
    assert set(outcomes(tmp_path).values()) == {("done", None)}
    assert query(tmp_path, "SELECT stage, outcome FROM attempts ORDER BY id") == [
        ("a", "done"), ("b", "done"), ("a", "done"), ("b", "done"),
    ]  # fmt: skip
    with LedgerReader(tmp_path) as reader:
        assert reader.audit(LINE, frozenset()) == []


async def test_what_the_ledger_alone_can_say_is_written_before_the_item_goes_on(
    tmp_path: Path,
) -> None:
    async with bench(LINE, tmp_path, "v1") as run:
        entry = await run.take("a")
        await run.end(entry, "a", "failed", retryable=True)
        assert outcomes(tmp_path) == {("a", entry.item.id): ("failed", "told")}
        assert query(tmp_path, "SELECT outcome FROM items") == [("failed",)]
    assert run.stops, "one of one is over the failure budget"


async def test_an_attempt_that_another_follows_leaves_its_stage_pending(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "v1") as run:
        entry = await run.take("a")
        entry.journey.begin("a")
        row = run.routing.attempt_started(entry.item, "a", 1, 1)
        failure = Failure("transient", "broke off")
        conclusion = Conclusion(entry.journey, row, "retried", failure, delay=1.0)
        await run.routing.concluded(conclusion)
        await run.commit.flush()
        assert outcomes(tmp_path) == {("a", entry.item.id): ("pending", None)}
        assert query(tmp_path, "SELECT outcome, message FROM attempts") == [
            ("retried", "broke off")
        ]


async def test_an_attempt_that_stops_the_run_leaves_its_item_pending(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "v1", "v2") as run:
        entry = await run.take("a")
        entry.journey.begin("a")
        row = run.routing.attempt_started(entry.item, "a", 1, 1)
        stop = StopRun("the disk is full")
        await run.routing.concluded(Conclusion(entry.journey, row, "interrupted", stop=stop))
        assert run.stops == ["the disk is full"]
        with pytest.raises(Closed):
            await run.take("a")
    assert outcomes(tmp_path)["a", entry.item.id] == ("pending", None)


async def test_a_full_inbox_holds_back_who_passes_on_and_no_other_branch(tmp_path: Path) -> None:
    async with bench(FORK, tmp_path, "v1", "v2", "v3") as run, anyio.create_task_group() as tasks:
        await run.end(await run.take("x"), "x")
        await run.take("a")
        await run.end(await run.take("b"), "b")
        await run.end(await run.take("x"), "x")  # a has one in hand and one ready: no more room
        await run.end(await run.take("b"), "b")
        third = await run.take("x")
        tasks.start_soon(run.end, third, "x")
        assert (await run.take("b")).journey is third.journey
        await wait_all_tasks_blocked()
        assert run.inboxes["x"].outlet.statistics().in_hand == 1, "it waits for room in a"
        await run.take("a")
        await wait_all_tasks_blocked()
        assert run.inboxes["x"].outlet.statistics().in_hand == 1, "two in hand, of one worker"
        run.inboxes["a"].outlet.leave()
        await wait_all_tasks_blocked()
        assert run.inboxes["x"].outlet.statistics().in_hand == 0


async def test_a_decided_item_is_taken_out_of_the_other_inboxes(tmp_path: Path) -> None:
    async with bench(FORK, tmp_path, "v1") as run:
        await run.end(await run.take("x"), "x")
        entry = await run.take("a")
        await run.end(entry, "a", "dropped")
        assert run.inboxes["b"].outlet.statistics().ready == 0
        assert sorted(outcomes(tmp_path)) == [("a", entry.item.id), ("x", entry.item.id)]
        await run.commit.flush()
        assert run.routing.ended["dropped"] == 1
        with pytest.raises(Closed):
            await run.take("b")


async def test_a_second_run_reuses_what_the_first_did_and_has_no_work(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "v1") as run:
        await run.end(await run.take("a"), "a", "dropped")
        await run.commit.flush()
    async with bench(LINE, tmp_path, "v1") as run:
        assert not await run.routing.has_work()
        await run.commit.flush()
        assert run.routing.ended == {"done": 0, "dropped": 1, "failed": 0, "reused": 1}


async def test_an_item_that_is_named_twice_enters_once(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "v1", "v1") as run:
        await run.end(await run.take("a"), "a")
        await run.end(await run.take("b"), "b")
        with pytest.raises(Closed):
            await run.take("a")
        assert len(run.heard(ItemEntered)) == 1


async def test_items_that_come_out_of_one_enter_as_its_children(tmp_path: Path) -> None:
    async with bench(LINE, tmp_path, "list") as run, anyio.create_task_group() as tasks:
        parent = await run.take("a")
        sources = ["v1", "v2", "v3"]
        row = run.routing.attempt_started(parent.item, "a", 1, 1)
        run.inboxes["a"].outlet.leave()  # as a pool has it, whose worker is needed for them

        async def expand() -> None:
            children = (parent.item.child(source) for source in sources)
            expanded = await run.routing.expand(parent.journey, children)
            end = End("a", "done", parent.journey.begin("a"), expanded)
            await run.routing.concluded(Conclusion(parent.journey, row, "done", None, end))

        tasks.start_soon(expand)
        for _ in sources:
            child = await run.take("a")
            assert child.item.depth == 1
            await run.end(child, "a", "dropped")
        with pytest.raises(Closed):
            await run.take("a")
        await run.commit.flush()
        assert run.routing.ended == {"done": 1, "dropped": 3, "failed": 0, "reused": 0}
        assert run.heard(ItemEnded)[-1].item == parent.item.id, "after those that it held"
    held = "SELECT count(*) FROM expansions WHERE parent = ?"
    assert query(tmp_path, held, parent.item.id) == [(3,)]
