"""Gates: a rate, a number at once and a breaker for each host."""

import math
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine.config.limits import KeyLimits
from engine.gates import hosts as limits
from engine.gates.capacity import Capacities
from engine.gates.hosts import Closure, Gates, Refusal, pause_after
from engine.telemetry.events import Event, Events, GateClosed

pytestmark = pytest.mark.anyio


async def test_so_many_are_inside_at_once_and_others_pass(events: Events) -> None:
    gates = Gates(Capacities(concurrency=2), events)
    assert [gates.enter("one") for _ in range(3)] == [True, True, False]
    assert gates.enter("other")
    gates.leave("one", throttled=False)
    assert gates.enter("one")


async def test_several_that_went_in_as_one_are_one_until_the_last_is_out(events: Events) -> None:
    gates = Gates(Capacities(concurrency=1), events)
    assert gates.enter("one")
    assert gates.admits_company("one")
    gates.leave("one", throttled=False, well=1, is_last=False)
    assert not gates.enter("one")
    refusal = gates.refuse("one", 60.0, "slow down", "v1", together=2)
    again = gates.refuse("one", 60.0, "slow down", "v1", refusal, together=2)
    assert not again.alone, "the other may be what is not liked"
    assert not gates.admits_company("one"), "one is to try alone"
    gates.leave("one", throttled=True)
    assert gates.closure("one") is not None


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
