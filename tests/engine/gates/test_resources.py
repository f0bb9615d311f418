"""Steps take turns at what they share: never more than there is, never for ever, all or nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import ConfigError, PipelineError
from engine.gates.resources import Resources, Share
from tests.virtual_time import BACKEND, run_in_virtual_time

pytestmark = pytest.mark.anyio

GPU = {"cuda:0": 1}


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


async def test_workers_of_one_step_go_in_side_by_side_and_another_step_waits() -> None:
    resources = Resources({})
    one, other = resources.share("one", GPU), resources.share("other", GPU)
    await one.enter()
    await one.enter()
    assert not other.enter_nowait()
    one.leave()
    assert not other.enter_nowait()
    one.leave()
    assert other.enter_nowait()


async def test_while_another_waits_nobody_joins_and_turns_change() -> None:
    resources, told = Resources({}), list[str]()
    one, other = resources.share("one", GPU), resources.share("other", GPU)

    async def work(share: Share, name: str) -> None:
        await share.enter()
        told.append(name)

    await one.enter()
    async with anyio.create_task_group() as tasks:
        for share, name in ((other, "b1"), (one, "a2"), (other, "b2"), (one, "a3")):
            tasks.start_soon(work, share, name)
            await wait_all_tasks_blocked()
        assert told == []
        one.leave()
        await wait_all_tasks_blocked()
        assert told == ["b1", "b2"], "all of the step whose turn it is"
        other.leave()
        await wait_all_tasks_blocked()
        assert told == ["b1", "b2"]
        other.leave()
    assert told == ["b1", "b2", "a2", "a3"]


async def test_who_needs_two_gets_both_though_each_is_always_in_demand() -> None:
    resources = Resources({})
    left, right = resources.share("left", {"a": 1}), resources.share("right", {"b": 1})
    both, apart = resources.share("both", {"a": 1, "b": 1}), resources.share("apart", {"c": 1})
    await left.enter()
    await right.enter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(both.enter)
        await wait_all_tasks_blocked()
        assert apart.enter_nowait(), "it is in nobody's way"
        left.leave()
        assert not left.enter_nowait(), "it waits behind who waits for both"
        assert not both.inside
        right.leave()
    assert both.inside == 1


async def test_a_larger_capacity_holds_several_steps() -> None:
    resources = Resources({"cuda:0": 3})
    small, large = resources.share("small", GPU), resources.share("large", {"cuda:0": 2})
    assert small.enter_nowait()
    assert large.enter_nowait()
    assert not resources.share("third", GPU).enter_nowait()


async def test_who_is_cancelled_has_taken_nothing_and_is_in_nobodys_way() -> None:
    resources = Resources({})
    one, other, third = (resources.share(name, GPU) for name in ("one", "other", "third"))
    await one.enter()
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await other.enter()
        assert one.enter_nowait(), "nobody waits any more"
        one.leave()
        with anyio.move_on_after(1):
            await other.enter()
        tasks.start_soon(third.enter)
        await wait_all_tasks_blocked()
        one.leave()
    assert (one.inside, other.inside, third.inside) == (0, 0, 1)


async def test_who_is_cancelled_just_when_let_in_passes_it_on() -> None:
    resources = Resources({})
    one, other, third = (resources.share(name, GPU) for name in ("one", "other", "third"))
    await one.enter()
    async with anyio.create_task_group() as tasks:
        doomed = asyncio.ensure_future(other.enter())
        await wait_all_tasks_blocked()
        tasks.start_soon(third.enter)
        await wait_all_tasks_blocked()
        one.leave()  # `other` is let in, but has not run since
        assert other.inside
        doomed.cancel()
    assert doomed.cancelled()
    assert (other.inside, third.inside) == (0, 1)


def test_what_can_never_be_had_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r'limits\.resources\."cuda:0" is 1: set it to 2 or more'):
        Resources({}).share("detect", {"cuda:0": 2})
    with pytest.raises(PipelineError, match="stage 'detect' needs 0 of 'cuda:0'"):
        Resources({}).share("detect", {"cuda:0": 0})


NAMES = ["a", "b", "c"]


@st.composite
def steps(draw: st.DrawFn) -> tuple[Mapping[str, int], list[tuple[Mapping[str, int], int]]]:
    """Capacities, and what each step needs with how many workers it has."""
    capacities = {name: draw(st.integers(1, 3)) for name in NAMES}
    needed = []
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.sets(st.sampled_from(NAMES), min_size=1))
        needs = {name: draw(st.integers(1, capacities[name])) for name in sorted(names)}
        needed.append((needs, draw(st.integers(1, 3))))
    return capacities, needed


@settings(max_examples=150, deadline=None)
@given(steps(), st.integers(0, 2**32))
def test_never_more_than_there_is_no_deadlock_and_each_step_has_its_turn(
    made: tuple[Mapping[str, int], list[tuple[Mapping[str, int], int]]], seed: int
) -> None:
    """Every worker wants to go in again and again. Some are cancelled while they wait or work.
    While a step waits, each of the others that need the same has one turn at most, beside the one
    that it is just having: in each, every of its workers goes in once."""
    capacities, needed = made
    chance = random.Random(seed)
    inside, served = Counter[int](), Counter[int]()
    resources = Resources(capacities)
    shares = [resources.share(str(n), needs) for n, (needs, _) in enumerate(needed)]

    def check() -> None:
        taken = Counter[str]()
        for number, (needs, _) in enumerate(needed):
            assert shares[number].inside >= inside[number], "some are let in and have not run yet"
            if shares[number].inside:
                taken.update(needs)
        assert all(many <= capacities[name] for name, many in taken.items())

    async def work(number: int) -> None:
        share = shares[number]
        for _ in range(10):
            with anyio.move_on_after(chance.choice([0, 0.5, 1000])) as patience:
                before = served.copy()
                await share.enter()
                overtaken = served - before
                inside[number] += 1
                try:
                    check()
                    rivals = [
                        other
                        for other in range(len(needed))
                        if other != number and not needed[other][0].keys().isdisjoint(share.needs)
                    ]
                    for rival in rivals:
                        assert overtaken[rival] <= 2 * needed[rival][1]
                    served[number] += 1
                    await anyio.sleep(chance.choice([0, 0.1, 1]))
                finally:
                    inside[number] -= 1
                    share.leave()
            if patience.cancelled_caught:
                await anyio.lowlevel.checkpoint()

    async def main() -> None:
        with anyio.fail_after(100_000):
            async with anyio.create_task_group() as tasks:
                for number, (_, workers) in enumerate(needed):
                    for _ in range(workers):
                        tasks.start_soon(work, number)

    run_in_virtual_time(main)
    assert not any(share.inside or share.waiting for share in shares)
