"""Batches: how large, in what order, how long one waits to fill, and how they go through gates."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Throttled, Transient
from engine.config.limits import KeyLimits
from engine.gates.capacity import Capacities
from tests.engine.flow.lone_pool import Call, LonePool, Noted
from tests.virtual_time import BACKEND, run_in_virtual_time

pytestmark = pytest.mark.anyio

CLOSE = 0.01
"""Seconds that pass where nothing happens, and more: all times of a case are far apart."""


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture(autouse=True, scope="module")
def without_threads() -> Iterator[None]:
    """What pools do in threads they do at once: to the clock that jumps they would take ages."""

    async def at_once(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio.to_thread, "run_sync", at_once)
        yield


# Filling


GAPS = st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.0, 7.0])


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(GAPS, min_size=1, max_size=14),
    batch=st.integers(1, 5),
    linger=st.sampled_from([0.0, 0.5, 2.0]),
    queue=st.integers(1, 8),
)
def test_a_batch_fills_for_so_long_and_goes_as_soon_as_it_is_full(
    gaps: list[float], batch: int, linger: float, queue: int
) -> None:
    noted, arrived = Noted(seconds=1.7), list[float]()
    closed = 0.0

    async def main() -> None:
        nonlocal closed
        limits = [f"batch={batch}", f"linger={linger}", f"queue={queue}"]
        lone = LonePool(noted, Capacities(), *limits)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lone.pool.run)
            for number, gap in enumerate(gaps):
                await anyio.sleep(gap)
                await lone.put(str(number))
                arrived.append(anyio.current_time())
            closed = anyio.current_time()
            lone.inlet.close()
        assert [outcome for _, outcome in lone.run.ended] == ["done"] * len(gaps)

    run_in_virtual_time(main)
    sources = [source for call in noted.calls for source in call.sources]
    assert sources == [str(number) for number in range(len(gaps))], "each once, in their order"
    free = 0.0
    for call in noted.calls:
        first, last = arrived[int(call.sources[0])], arrived[int(call.sources[-1])]
        ready = max(free, first)
        assert len(call.sources) <= batch
        assert call.began <= ready + linger + CLOSE, "its first waits no longer"
        if len(call.sources) == batch:
            assert call.began <= max(ready, last) + CLOSE, "it is full"
        elif linger and len(call.sources) < queue + 1:  # as many as the pool may hold
            assert call.began >= min(ready + linger, max(closed, ready)) - CLOSE, "it waits"
        free = call.ended


async def test_who_is_to_be_tried_alone_is_not_waited_for_nor_with() -> None:
    """A batch fails as a whole, so each of its two goes alone, and what comes after by itself."""
    noted = Noted(answer=lambda source: None)
    lone = LonePool(noted, Capacities(), "batch=2", "linger=5", "attempts=2")

    def fail(source: str) -> None:
        if len(noted.calls[-1].sources) > 1:
            raise ValueError("together it does not work")

    noted.answer = fail
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lone.pool.run)
        for source in "ab":
            await lone.put(source)
        await anyio.sleep(4)
        lone.inlet.close()
    assert sorted(call.sources for call in noted.calls) == [["a"], ["a", "b"], ["b"]]
    assert noted.calls[-1].ended < 4, "neither waited for company"


async def test_a_drained_pool_does_not_wait_for_a_batch_to_fill() -> None:
    noted = Noted()
    lone = LonePool(noted, Capacities(), "batch=3", "linger=1000")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lone.pool.run)
        await lone.put("a")
        await lone.put("b")
        await wait_all_tasks_blocked()
        assert noted.calls == []
        lone.inlet.drain()
    assert [call.sources for call in noted.calls] == [["a", "b"]], "what is in hand is finished"
    assert noted.calls[0].began < 1


async def test_a_worker_that_is_to_go_does_not_wait_for_a_batch_to_fill() -> None:
    noted = Noted()
    lone = LonePool(noted, Capacities(), "batch=3", "linger=1000", "workers=2")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lone.pool.run)
        await lone.put("a")
        await wait_all_tasks_blocked()
        lone.pool.resize(1)
        lone.inlet.close()
    assert noted.calls[0].began < 1


async def test_waiting_for_a_batch_to_fill_is_waiting_for_items() -> None:
    noted = Noted(seconds=0.0)
    lone = LonePool(noted, Capacities(), "batch=3", "linger=20")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lone.pool.run)
        await lone.put("a")
        await wait_all_tasks_blocked()
        waiting = lone.pool.statistics()
        assert (waiting.in_hand, waiting.held, waiting.waiting) == (1, 0, 0)
        lone.inlet.close()
    passed = lone.pool.statistics()
    assert passed.starved > 0
    assert passed.busy <= passed.worker_seconds - passed.starved


# Gates


def inside_at_once(calls: list[Call], key: str, keys: Mapping[str, str | None]) -> int:
    """The most calls for one key at a time."""
    ours = [call for call in calls if key in {keys[source] for source in call.sources}]
    starts = [call.began for call in ours]
    return max((sum(c.began <= at < c.ended for c in ours) for at in starts), default=0)


async def filled(concurrency: int, workers: int, **own: KeyLimits) -> list[Call]:
    noted = Noted(key=lambda source: "host")
    capacities = Capacities(concurrency=concurrency, own=own)
    lone = LonePool(noted, capacities, "batch=5", f"workers={workers}", "queue=40")
    for number in range(40):
        await lone.put(str(number))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lone.pool.run)
        await lone.all_ended(40)
        lone.inlet.close()
    return noted.calls


@pytest.mark.parametrize(("workers", "concurrency"), [(1, 1), (3, 1), (3, 2), (1, 0)])
async def test_a_batch_for_one_host_fills_and_counts_as_one_there(
    workers: int, concurrency: int
) -> None:
    calls = await filled(concurrency, workers)
    assert [len(call.sources) for call in calls] == [5] * 8
    most = concurrency or workers
    assert inside_at_once(calls, "host", {str(n): "host" for n in range(40)}) == most
    assert [source for call in calls for source in call.sources] == [str(n) for n in range(40)]


async def test_a_batch_for_one_host_is_one_start_to_its_rate() -> None:
    calls = await filled(0, 3, host=KeyLimits(rate=0.1))
    assert [len(call.sources) for call in calls] == [5] * 8
    assert all(b.began - a.began >= 10 for a, b in pairwise(calls))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_through_gates_none_is_lost_overtaken_or_one_too_many(
    data: st.DataObject, seed: int
) -> None:
    """Whatever the hosts, workers, retries and refusals: each item ends once; of those that never
    had to be tried again, none starts before one that goes to the same host and came earlier; and
    no host has more calls at a time than its gate lets in."""
    keys = data.draw(st.lists(st.sampled_from([None, "g", "g", "h"]), min_size=1, max_size=14))
    concurrency = data.draw(st.integers(0, 2))
    own = {"g": KeyLimits(concurrency=1, rate=data.draw(st.sampled_from([0.0, 0.5])))}
    limits = [
        f"batch={data.draw(st.integers(1, 4))}",
        f"workers={data.draw(st.integers(1, 3))}",
        f"queue={data.draw(st.integers(1, 6))}",
        f"linger={data.draw(st.sampled_from([0.0, 0.4]))}",
    ]
    troubled = data.draw(st.sets(st.integers(0, len(keys) - 1), max_size=3))
    throttles = data.draw(st.booleans())
    gaps = data.draw(st.lists(GAPS, min_size=len(keys), max_size=len(keys)))
    tried = Counter[str]()
    key_of = {str(number): key for number, key in enumerate(keys)}

    def answer(source: str) -> Throttled | Transient | None:
        tried[source] += 1
        if int(source) not in troubled or tried[source] > 2:
            return None
        return Throttled("slow down", after=1.0) if throttles else Transient("once more")

    noted = Noted(seconds=0.9, key=key_of.__getitem__, answer=answer)

    async def main() -> list[tuple[str, str]]:
        lone = LonePool(noted, Capacities(concurrency=concurrency, own=own), *limits)
        with anyio.fail_after(100_000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lone.pool.run)
                for number, gap in enumerate(gaps):
                    await anyio.sleep(gap)
                    await lone.put(str(number))
                await lone.all_ended(len(keys))
                lone.inlet.close()
        now = lone.pool.statistics()
        assert (now.waiting, now.in_hand, now.held) == (0, 0, 0)
        return lone.run.ended

    ended = run_in_virtual_time(main)
    assert sorted(ended) == sorted((source, "done") for source in key_of)
    assert inside_at_once(noted.calls, "g", key_of) <= 1
    if concurrency:
        assert inside_at_once(noted.calls, "h", key_of) <= concurrency
    if not troubled:
        started = [source for call in noted.calls for source in call.sources]
        for key in set(keys):
            ours = [int(source) for source in started if key_of[source] == key]
            assert ours == sorted(ours)
