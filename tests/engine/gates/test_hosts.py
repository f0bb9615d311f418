"""What the whole run keeps to: a rate, a number at once and a breaker per host, disk, failures."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine import StopRun
from engine.config.limits import KeyLimits
from engine.gates import hosts as limits
from engine.gates.capacity import Capacities
from engine.gates.disk import DiskGate
from engine.gates.failure_budget import FailureBudget
from engine.gates.hosts import Closure, Gates, Refusal, pause_after
from engine.telemetry.events import DiskLow, DiskRecovered, Event, Events, GateClosed
from tests.virtual_time import BACKEND

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def told(events: Events) -> list[Event]:
    told: list[Event] = []
    events.subscribe(told.append)
    return told


# Gates


async def test_so_many_are_inside_at_once_and_others_pass(events: Events) -> None:
    gates = Gates(Capacities(concurrency=2), events)
    assert [gates.enter("one") for _ in range(3)] == [True, True, False]
    assert gates.enter("other")
    gates.leave("one", throttled=False)
    assert gates.enter("one")


async def test_a_key_may_have_a_capacity_of_its_own(events: Events) -> None:
    own = {"wide": KeyLimits(concurrency=0), "slow": KeyLimits(rate=2.0)}
    gates = Gates(Capacities(concurrency=1, own=own), events)
    assert [gates.enter("one") for _ in range(2)] == [True, False]
    assert [gates.enter("wide") for _ in range(9)] == [True] * 9
    assert gates.enter("slow")
    gates.leave("slow", throttled=False)
    assert not gates.enter("slow"), "the next may start in half a second"
    start = anyio.current_time()
    await gates.wait("slow")
    assert anyio.current_time() == pytest.approx(start + 0.5, abs=1e-3)
    assert [gates.enter("slow") for _ in range(2)] == [True, False], "what is not said is common"


async def test_who_waits_goes_on_as_soon_as_someone_leaves(events: Events) -> None:
    gates = Gates(Capacities(concurrency=1), events)
    gates.enter("one")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gates.wait, "one")
        await wait_all_tasks_blocked()
        gates.leave("one", throttled=False)
    assert gates.enter("one")


async def test_starts_are_spaced_by_the_rate(events: Events) -> None:
    gates = Gates(Capacities(rate=50), events)
    starts = []
    for _ in range(4):
        await gates.wait("one")
        assert gates.enter("one")
        starts.append(anyio.current_time())
        assert not gates.enter("one")
        gates.leave("one", throttled=False)
    assert min(b - a for a, b in pairwise(starts)) >= 0.02
    assert gates.enter("other"), "another host has a rate of its own"


async def test_a_closed_gate_is_closed_for_everyone_and_says_so_once(
    events: Events, told: list[Event]
) -> None:
    gates = Gates(Capacities(), events)
    gates.enter("one")
    gates.enter("one")
    assert gates.close("one", 0.05, "429") == pytest.approx(0.05, abs=0.01)
    gates.leave("one", throttled=True)
    gates.close("one", 0.05, "429")
    gates.leave("one", throttled=True)
    assert not gates.enter("one")
    assert gates.enter("other")
    assert told == [GateClosed("one", 0.05, "429")]
    began = anyio.current_time()
    await gates.wait("one")
    assert anyio.current_time() - began >= 0.04


async def test_a_closed_gate_lets_one_through_alone_before_all(events: Events) -> None:
    gates = Gates(Capacities(), events)
    gates.enter("one")
    gates.close("one", 0.01, "429")
    gates.leave("one", throttled=True)
    await gates.wait("one")
    assert gates.enter("one")
    assert not gates.enter("one"), "the first one tries alone"
    gates.leave("one", throttled=False)
    assert gates.enter("one")
    assert gates.enter("one")


async def test_a_success_from_before_the_closing_does_not_open_the_gate(events: Events) -> None:
    gates = Gates(Capacities(), events)
    gates.enter("one")
    gates.enter("one")
    gates.close("one", 0.02, "429")
    gates.leave("one", throttled=True)
    gates.leave("one", throttled=False)  # it was on its way when the gate closed
    await gates.wait("one")
    assert gates.enter("one")
    assert not gates.enter("one")


async def test_how_long_things_were_slow_is_counted_until_one_goes_well(events: Events) -> None:
    gates = Gates(Capacities(), events)
    gates.enter("one")
    assert gates.slowed("one") == 0
    gates.close("one", 0.02, "429")
    gates.leave("one", throttled=True)
    await gates.wait("one")
    gates.enter("one")
    assert gates.slowed("one") >= 0.02
    gates.leave("one", throttled=False)
    slowed = gates.slowed("one")
    assert slowed >= 0.02
    await anyio.sleep(0.01)
    assert gates.slowed("one") == slowed
    assert gates.slowed("other") == 0


async def test_the_next_refusal_closes_for_twice_as_long_until_one_goes_well(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.02)
    gates = Gates(Capacities(), events)
    pauses = []
    for throttled in (True, True, False, True):
        await gates.wait("one")
        gates.enter("one")
        if throttled:
            pauses.append(gates.close("one", None, "429"))
        gates.leave("one", throttled=throttled)
    assert pauses == pytest.approx([0.02, 0.04, 0.02], abs=0.005)


class Host:
    """One host behind a gate, to which items come one after the other."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.refusals: dict[str, Refusal] = {}

    async def serves(self, item: str) -> None:
        await self.gates.wait("host")
        assert self.gates.enter("host")
        self.gates.leave("host", throttled=False, well=self.gates.entries("host"), item=item)

    async def refuses(
        self, item: str, after: float | None = None, *, doubtful: bool = False
    ) -> Refusal:
        await self.gates.wait("host")
        assert self.gates.enter("host")
        return self.turns_away(item, after, doubtful=doubtful)

    def turns_away(
        self, item: str, after: float | None = None, *, doubtful: bool = False
    ) -> Refusal:
        refusal = self.gates.refuse(
            "host", after, "429", item, self.refusals.get(item), doubtful=doubtful
        )
        self.gates.leave("host", throttled=True, item=item)
        self.refusals[item] = refusal
        return refusal


@pytest.fixture
def host(events: Events) -> Host:
    return Host(Gates(Capacities(), events))


async def test_a_host_that_refuses_everything_is_believed(host: Host) -> None:
    refusals = [await host.refuses(item) for item in "abab" * 3]
    assert not any(refusal.alone for refusal in refusals)
    assert [round(refusal.seconds) for refusal in refusals[:4]] == [30, 60, 120, 240]
    assert round((await host.refuses("c", 3600)).seconds) == 3600
    assert refusals[-1].times == 6


async def test_a_host_that_refuses_everything_from_some_moment_on_is_believed(host: Host) -> None:
    await host.serves("good")
    assert (await host.refuses("a", 3600)).seconds == 60, "at first it is doubted"
    refusals = [await host.refuses(item, 3600) for item in "babcab"]
    assert {(round(refusal.seconds), refusal.alone) for refusal in refusals} == {(3600, False)}


@pytest.mark.parametrize(("after", "seconds"), [(None, 30), (3600, 60), (math.nan, 30), (5, 5)])
async def test_one_that_alone_is_refused_is_told_from_its_host(
    host: Host, after: float | None, seconds: float
) -> None:
    await host.serves("good")
    for times in (1, 2, 3, 4):
        refusal = await host.refuses("gone", after)
        assert (round(refusal.seconds), refusal.times) == (seconds, times)
        assert refusal.alone == (times > 1)


async def test_a_few_may_be_refused_for_reasons_of_their_own(host: Host) -> None:
    await host.serves("good")
    for again in (False, True, True):
        for item in "abc":
            assert (await host.refuses(item, doubtful=True)).alone == again
    refusals = [await host.refuses(item, doubtful=True) for item in "dabcd"]
    assert not any(refusal.alone for refusal in refusals), "four in a row are all"
    await host.serves("good")
    assert (await host.refuses("a", doubtful=True)).alone


async def test_one_that_is_refused_while_others_are_served_does_not_hold_them_up(
    host: Host,
) -> None:
    for doubtful in (True, False):
        await host.refuses(f"gone {doubtful}", doubtful=doubtful)
        await host.serves("good")
        assert (await host.refuses(f"gone {doubtful}", 3600, doubtful=doubtful)).seconds == 60
        assert host.gates.enter("host"), "the gate is open"
        host.gates.leave("host", throttled=False)


async def test_too_many_at_once_is_no_items_fault(host: Host) -> None:
    await host.serves("good")
    for _ in range(5):
        await host.gates.wait("host")
        assert host.gates.enter("host")
        assert host.gates.enter("host")
        assert not host.turns_away("unlucky", 1).alone
        host.gates.leave("host", throttled=False, well=host.gates.entries("host"))
        await host.serves("another")


async def test_what_a_closed_gate_is_closed_for_can_be_asked(host: Host) -> None:
    assert host.gates.closure("host") is None
    await host.refuses("a")
    assert host.gates.closure("host") == Closure(30, "429")
    await host.gates.wait("host")
    assert host.gates.closure("host") == Closure(0, "429")
    await host.serves("a")
    assert host.gates.closure("host") is None


def test_a_pause_is_bounded_and_grows_though_the_other_side_says_none() -> None:
    assert [pause_after(None, times) for times in (1, 2, 3)] == [30, 60, 120]
    assert pause_after(None, 5000) == 3600
    assert pause_after(10**9, 1) == 3600
    assert pause_after(7.5, 1) == 7.5
    assert pause_after(-1, 1) > 0
    assert pause_after(0, 5000) == 30, "asking again and again at once would never end"


@pytest.mark.parametrize("said", [math.nan, math.inf, -math.inf, 10**400, "7", "NaN", b"7", [7]])
def test_what_is_no_finite_number_says_nothing_of_how_long_to_wait(said: Any) -> None:
    assert pause_after(said, 1) == 30
    assert pause_after(said, 2) == 60


async def test_a_gate_is_closed_for_a_time_that_a_clock_can_wait_for(events: Events) -> None:
    gates = Gates(Capacities(), events)
    for number, said in enumerate((math.nan, math.inf, -5.0, 10**400, 1e308)):
        gates.enter(f"{number}")
        assert 0 < gates.close(f"{number}", said, "429") <= 3600
        gates.leave(f"{number}", throttled=True)
        await gates.wait(f"{number}")
        assert gates.enter(f"{number}")


@pytest.mark.parametrize("rate", [0, 1000])
async def test_many_hosts_take_no_memory_once_they_are_quiet(rate: float, events: Events) -> None:
    gates = Gates(Capacities(rate=rate, concurrency=1), events)
    for number in range(5000):
        gates.enter(f"host {number}")
        gates.leave(f"host {number}", throttled=False)
        await anyio.sleep(0.001)
    assert len(gates) <= 2 * limits.SWEEP


# The disk


class Disk(DiskGate):
    """A disk of which the test says how much is free, look by look."""

    def __init__(self, frees: Sequence[int], watermark: int, events: Events) -> None:
        super().__init__(Path(), watermark, events)
        self.frees = list(frees)

    def free(self) -> int:
        return self.frees.pop(0) if len(self.frees) > 1 else self.frees[0]


async def test_enough_room_is_no_event(events: Events, told: list[Event]) -> None:
    await Disk([100], 100, events).wait_for_room(lambda: False)
    await Disk([0], 0, events).wait_for_room(lambda: False)
    assert told == []


async def test_a_full_disk_is_waited_for_while_something_may_free_it(
    events: Events, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.gates.disk.DISK_CHECK_INTERVAL", 0.001)
    await Disk([5, 5, 5, 20], 10, events).wait_for_room(lambda: True)
    assert told == [DiskLow(5, 10), DiskRecovered(20)]


async def test_a_full_disk_that_nothing_frees_stops_the_run(events: Events) -> None:
    with pytest.raises(StopRun, match="nearly full") as stop:
        await Disk([5], 10, events).wait_for_room(lambda: False)
    assert "free some and run again" in str(stop.value)


def test_what_is_free_is_the_disks_own_figure(tmp_path: Path, events: Events) -> None:
    free = DiskGate(tmp_path, 1, events).free()
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


# The failure budget


def test_too_many_failures_are_too_many_from_the_minimum_on() -> None:
    budget = FailureBudget(share=0.5, window=20, minimum=5)
    assert [budget.record(True) for _ in range(4)] == [None] * 4
    why = budget.record(True)
    assert why is not None
    assert why.startswith("5 of the last 5 items failed, over the failure budget")


def test_half_of_them_is_not_more_than_half() -> None:
    budget = FailureBudget(share=0.5, window=10, minimum=1)
    for failed in [False, True] * 20:
        assert budget.record(failed) is None
    assert budget.record(True) is not None


def test_only_the_latest_count() -> None:
    budget = FailureBudget(share=0.5, window=4, minimum=3)
    for failed in (True, True, False, False, False, True, True):
        assert budget.record(failed) is None
    assert budget.record(True) is not None


def test_a_budget_of_everything_is_never_spent() -> None:
    budget = FailureBudget(share=1, window=5, minimum=1)
    assert all(budget.record(True) is None for _ in range(50))


def spend(budget: FailureBudget, *, fail: int, under_way: int = 0, alone: bool = False) -> int:
    """Begin `under_way` items that stay at work, then have others fail one by one; how many did
    until the budget was spent, or `fail`."""
    for number in range(under_way):
        budget.begun(f"slow {number}", number)
    for number in range(fail):
        budget.begun(f"bad {number}", under_way + number)
        budget.settled(f"bad {number}", "a", "failed", alone=alone)
        if budget.ended(f"bad {number}", "failed") is not None:
            return number + 1
    return fail


def test_what_fails_at_once_is_a_share_of_all_that_was_started() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=30, under_way=30) == 30
    budget = FailureBudget(0.5, 50, 10)
    assert spend(budget, fail=40, under_way=30) == 31
    why = budget.record(True)
    assert why is not None
    assert "32 of the last 62 items failed (30 of them are still under way)" in why


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("under_way", [0, 3, 60, 500])
def test_a_run_in_which_all_fails_ends_however_many_are_under_way(
    share: float, under_way: int
) -> None:
    budget = FailureBudget(share, 50, 10)
    spent = spend(budget, fail=60_000, under_way=under_way)
    assert spent == max(10, int(under_way * share / (1 - share)) + 1) or share == 0.99
    assert spent < 60_000


def test_what_waits_after_a_failed_attempt_is_no_good_news() -> None:
    budget = FailureBudget(0.5, 50, 10)
    for number in range(1000):
        budget.begun(f"waits {number}", number)
        budget.put_off(f"waits {number}")
    assert spend(budget, fail=100) == 10


def test_failures_of_one_item_alone_do_not_count() -> None:
    budget = FailureBudget(0.5, 50, 10)
    budget.begun("good", 0)
    budget.settled("good", "a", "done", alone=False)
    assert budget.ended("good", "done") is None
    assert spend(budget, fail=500, alone=True) == 500
    assert spend(budget, fail=500) == 10, "others count as if there had been none of those"


def test_they_do_not_count_while_an_earlier_one_is_at_work() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=500, under_way=1, alone=True) == 500


def test_they_do_count_where_a_stage_does_nothing_well() -> None:
    assert spend(FailureBudget(0.5, 50, 10), fail=500, alone=True) == 10
    budget = FailureBudget(0.5, 50, 10)
    budget.settled("good", "another", "done", alone=False)
    assert spend(budget, fail=500, alone=True) == 10


def test_a_budget_of_one_failure_is_spent_by_the_first() -> None:
    assert spend(FailureBudget(0, 1, 1), fail=5, under_way=7) == 1
    assert FailureBudget(0.5, 1, 1).record(True) is not None
    assert FailureBudget(0.5, 1, 1).record(False) is None


def test_looking_back_costs_no_more_for_a_long_run() -> None:
    budget, began = FailureBudget(share=1, window=50, minimum=10), time.process_time()
    for _ in range(10_000):
        budget.record(False)
    assert time.process_time() - began < 1
