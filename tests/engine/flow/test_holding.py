"""Holding: entries wait outside the workers for a retry's time and for their gate, in turn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine import Item
from engine.flow.attempt import Entry, Stay
from engine.flow.holding import Holding
from engine.flow.inbox import Inbox
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.gates.capacity import Capacities
from engine.gates.hosts import Gates
from engine.telemetry.events import Events
from tests.engine.toys import line, toy
from tests.virtual_time import BACKEND

pytestmark = pytest.mark.anyio

GRAPH = Graph(line(toy("a")), {"a": {}})
HOST = "a.test"


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


class Bench:
    """A pool without workers: the test takes entries in hand itself."""

    def __init__(self, concurrency: int = 0, bound: int = 10) -> None:
        self.inbox: Inbox[Entry] = Inbox(bound, 1)
        self.gates = Gates(Capacities(concurrency=concurrency), Events())
        self.holding = Holding(self.inbox.outlet, self.gates)

    async def in_hand(self, source: str) -> Entry:
        """A new entry, taken as a worker takes it."""
        await self.inbox.inlet.put(Entry(Journey(GRAPH, Item.at(Path("nowhere"), source))))
        entry = self.inbox.outlet.take_nowait()
        assert entry is not None
        return entry

    def counts(self) -> tuple[int, int, int]:
        now = self.inbox.outlet.statistics()
        return now.ready, now.in_hand, now.held


async def test_a_retry_comes_back_when_its_time_has_come_and_before_others() -> None:
    bench = Bench()
    entry = await bench.in_hand("v1")
    async with anyio.create_task_group() as tasks:
        bench.holding.hold(entry, 30.0, None, tasks, why="it broke off")
        await bench.inbox.inlet.put(Entry(entry.journey))
        assert bench.counts() == (1, 0, 1), "it waits in no worker's hand"
        (held,) = bench.holding.holds()
        assert (held.key, held.reason, held.items) == (None, "it broke off", 1)
        assert held.seconds == pytest.approx(30)
        await anyio.sleep(29.9)
        assert bench.counts() == (1, 0, 1)
        await anyio.sleep(0.2)
        assert bench.counts() == (2, 0, 0)
        assert bench.holding.holds() == ()
    assert bench.inbox.outlet.take_nowait() is entry
    assert entry.held_for == 0, "only what others told it to wait counts"


async def test_who_may_enter_its_gate_is_inside_until_it_leaves() -> None:
    bench = Bench(concurrency=1)
    first, second = await bench.in_hand("v1"), await bench.in_hand("v2")
    async with anyio.create_task_group() as tasks:
        assert bench.holding.enters(first, HOST, tasks)
        assert first.stay == Stay(HOST, 1)
        assert not bench.holding.enters(second, HOST, tasks)
        await wait_all_tasks_blocked()
        assert bench.counts() == (0, 1, 1)
        assert bench.holding.holds() == (), "it only waits for its turn"
        bench.holding.leave(first, throttled=False, well=True)
        assert first.gate is None
        bench.inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert bench.counts() == (1, 0, 0)
        assert second.gate is None, "it is next to go, and holds no place while it waits"
        assert bench.inbox.outlet.take_nowait() is second
        assert bench.holding.enters(second, HOST, tasks)
        bench.holding.leave(second, throttled=False, well=True)


async def test_those_who_wait_for_a_gate_go_in_the_order_they_came() -> None:
    bench = Bench(concurrency=1)
    first = await bench.in_hand("v0")
    others = [await bench.in_hand(f"v{number}") for number in (1, 2, 3)]
    went: list[Entry] = []
    async with anyio.create_task_group() as tasks:
        assert bench.holding.enters(first, HOST, tasks)
        for entry in others:
            assert not bench.holding.enters(entry, HOST, tasks)
        inside = first
        while len(went) < 3:
            bench.holding.leave(inside, throttled=False, well=True)
            await wait_all_tasks_blocked()
            assert bench.counts()[0] == 1, "one at a time is told to try"
            following = bench.inbox.outlet.take_nowait()
            assert following is not None
            assert bench.holding.enters(following, HOST, tasks)
            went.append(inside := following)
            late = await bench.in_hand("late")
            if len(went) < 3:
                assert not bench.holding.enters(late, HOST, tasks), "nobody goes before them"
                await wait_all_tasks_blocked()
            if len(went) == 3:
                tasks.cancel_scope.cancel()
    assert went == others


async def test_other_gates_are_not_held_up() -> None:
    bench = Bench(concurrency=1)
    async with anyio.create_task_group() as tasks:
        for source in ("v1", "v2"):
            bench.holding.enters(await bench.in_hand(source), HOST, tasks)
        assert bench.holding.enters(await bench.in_hand("v3"), "b.test", tasks)
        tasks.cancel_scope.cancel()


async def test_a_closed_gate_is_what_holds_those_who_wait_for_it() -> None:
    bench = Bench()
    entry, other = await bench.in_hand("v1"), await bench.in_hand("v2")
    async with anyio.create_task_group() as tasks:
        assert bench.holding.enters(entry, HOST, tasks)
        refusal = bench.gates.refuse(HOST, 60.0, "slow down", entry.item.id, entry.refusal)
        entry.refusal = refusal
        bench.holding.leave(entry, throttled=True, well=False)
        bench.holding.hold(entry, refusal.seconds, HOST, tasks, throttled=True, why="slow down")
        assert not bench.holding.enters(other, HOST, tasks)
        await wait_all_tasks_blocked()
        (held,) = bench.holding.holds()
        assert (held.key, held.reason, held.items) == (HOST, "slow down", 2)
        assert held.seconds == pytest.approx(refusal.seconds, abs=1)
        assert entry.held_for == refusal.seconds

        await anyio.sleep(refusal.seconds + 1)
        assert bench.counts() == (1, 0, 1), "one goes through alone, to see"
        probe = bench.inbox.outlet.take_nowait()
        assert probe is not None
        assert bench.holding.enters(probe, HOST, tasks)
        bench.holding.leave(probe, throttled=False, well=True)
        await wait_all_tasks_blocked()
        last = bench.inbox.outlet.take_nowait()
        assert last is not None
        assert bench.holding.enters(last, HOST, tasks)
        assert {probe.item.id, last.item.id} == {entry.item.id, other.item.id}
    assert bench.holding.holds() == ()


async def test_who_has_left_the_pool_comes_in_by_the_front_door() -> None:
    """A list whose items were read has given up its place: it waits for room like anyone."""
    bench = Bench(bound=1)
    entry = await bench.in_hand("list")
    bench.inbox.outlet.leave()
    async with anyio.create_task_group() as tasks:
        bench.holding.hold(entry, 1.0, None, tasks, left=True, why="it broke off")
        assert bench.counts() == (0, 0, 0)
        await bench.inbox.inlet.put(Entry(entry.journey))
        await anyio.sleep(2)
        assert bench.counts() == (1, 0, 0), "there is no room"
        assert bench.inbox.outlet.take_nowait() is not entry
        bench.inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert bench.inbox.outlet.take_nowait() is entry


async def test_a_run_that_drains_leaves_them_where_they_are() -> None:
    bench = Bench(concurrency=1)
    inside, waits = await bench.in_hand("v1"), await bench.in_hand("v2")
    async with anyio.create_task_group() as tasks:
        assert bench.holding.enters(inside, HOST, tasks)
        assert not bench.holding.enters(waits, HOST, tasks)
        bench.inbox.inlet.drain()
        bench.holding.leave(inside, throttled=False, well=True)
    assert bench.counts() == (0, 1, 1), "its task has ended, and it stays held"
