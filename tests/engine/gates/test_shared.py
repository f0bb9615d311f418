"""Gates that several machines pass: a real Redis, and an event loop's own connections as each."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Events, GatesAway, SharedGate, SharedLimits, Shut, UsageError, shared_gate
from engine.config.limits import LimitSettings
from engine.gates.capacity import Capacities
from engine.gates.hosts import Gates
from engine.gates.shared import shared_gates_at
from tests.stages.service.redis_server import free_port, redis_server

pytest.importorskip("redis")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@asynccontextmanager
async def machine(address: str, name: str) -> AsyncIterator[SharedGate]:
    """One machine's gate of this name."""
    async with shared_gates_at(address):
        gate = shared_gate(name)
        assert gate is not None
        yield gate


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        with anyio.fail_after(60):
            await main()

    anyio.run(limited)


async def entered(gate: SharedGate, limits: SharedLimits, count: int, **more: float) -> list[float]:
    """The times at which it went in, one entry after the other."""
    times = []
    for _ in range(count):
        assert await gate.enter(limits, **more) is None
        times.append(anyio.current_time())
    return times


def test_machines_keep_one_rate_and_take_turns(server: str) -> None:
    limits = SharedLimits(spacing=0.02)
    order: list[int] = []

    async def work(gate: SharedGate, number: int, callers: int) -> None:
        async def call() -> None:
            for _ in range(20 // callers):
                await gate.enter(limits)
                order.append(number)

        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(call)

    async def main() -> None:
        began = anyio.current_time()
        async with (
            machine(server, "turns") as greedy,
            machine(server, "turns") as modest,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(work, greedy, 1, 10)
            tasks.start_soon(work, modest, 2, 1)
        assert anyio.current_time() - began >= 39 * 0.02

    run(main)
    assert Counter(order) == {1: 20, 2: 20}
    halfway = Counter(order[:20])
    assert min(halfway.values()) >= 8, "ten callers of one machine get no more than one of another"


def test_what_is_due_within_a_moment_may_go_at_once(server: str) -> None:
    async def main() -> None:
        limits = SharedLimits(spacing=1.0, at_once=5.0)
        async with machine(server, "burst") as gate:
            times = await entered(gate, limits, 5)
            assert times[-1] - times[0] < 4
            with anyio.move_on_after(0.1) as over:
                await gate.enter(limits)
            assert over.cancelled_caught

    run(main)


def test_tokens_are_spaced_too_whatever_their_number(server: str) -> None:
    async def main() -> None:
        limits = SharedLimits(token_spacing=0.001, tokens_at_once=0.1)
        async with machine(server, "tokens") as one, machine(server, "tokens") as other:
            began = anyio.current_time()
            await entered(one, limits, 1, tokens=500)
            await entered(other, limits, 1, tokens=100)
            await entered(one, limits, 1, tokens=-50)
        assert anyio.current_time() - began >= 0.49

    run(main)


def test_the_lowest_limit_holds_for_all(server: str) -> None:
    async def main() -> None:
        async with machine(server, "lowest") as slow, machine(server, "lowest") as fast:
            await entered(slow, SharedLimits(spacing=0.2), 1)
            times = await entered(fast, SharedLimits(), 3)
        assert all(later - sooner >= 0.19 for sooner, later in pairwise(times))

    run(main)


def test_a_pause_closes_the_gate_for_all_and_voids_turns(server: str) -> None:
    async def main() -> None:
        limits = SharedLimits(spacing=0.3)
        async with machine(server, "pause") as told, machine(server, "pause") as other:
            await entered(told, limits, 1)
            shut: list[Shut | None] = []

            async def wait() -> None:
                shut.append(await other.enter(limits))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await told.close(30)
            (found,) = shut
            assert found is not None
            assert 28 < found.seconds <= 30
            assert not found.spent

    run(main)


def test_a_day_is_counted_over_all_and_not_given_back(server: str) -> None:
    async def main() -> None:
        async with machine(server, "day") as one, machine(server, "day") as other:
            limits = SharedLimits(day=3)
            await entered(one, limits, 2)
            await entered(other, limits, 1)
            for gate in (one, other):
                shut = await gate.enter(limits)
                assert shut is not None
                assert shut.spent
                assert 86_000 < shut.seconds <= 86_400 + 60

    run(main)


def test_a_day_of_a_calendar_ends_at_its_border(server: str) -> None:
    async def main() -> None:
        async with machine(server, "calendar") as gate, shared_clock(server) as clock:
            now = await clock()
            limits = SharedLimits(day=1, borders=(now - 90_000, now - 3600, now + 1800, now + 9e4))
            await entered(gate, limits, 1)
            shut = await gate.enter(limits)
            assert shut is not None
            assert shut.seconds == pytest.approx(1800, abs=30)
            yesterday = SharedLimits(day=1, borders=(now - 3600, now + 120))
            assert (await gate.enter(yesterday)) is not None

    run(main)


def test_a_clock_that_is_put_back_holds_nobody_up(server: str) -> None:
    async def main() -> None:
        from redis.asyncio import Redis

        limits = SharedLimits(spacing=0.05)
        async with machine(server, "clock") as gate, Redis.from_url(server) as client:
            await entered(gate, limits, 1)
            [name] = await client.keys("*{clock}")
            for field in ("seen", "next"):  # as if an hour had been taken off since
                await client.hincrby(name, field, 3600 * 1_000_000)
            began = anyio.current_time()
            await entered(gate, limits, 2)
            assert 0.04 < anyio.current_time() - began < 30

    run(main)


@asynccontextmanager
async def shared_clock(server: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, float]]]:
    from redis.asyncio import Redis

    async with Redis.from_url(server) as client:

        async def now() -> float:
            seconds, _ = await client.time()
            return float(seconds)

        yield now


def test_nothing_goes_in_while_redis_is_away_and_all_do_once_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        port, limits = free_port(), SharedLimits(spacing=0.01)
        with redis_server(tmp_path, port=port) as address:
            stack = machine(address, "away")
            gate = await stack.__aenter__()
            await entered(gate, limits, 1)
        with pytest.raises(GatesAway, match=f"at 127.0.0.1:{port}, gives no answer"):
            await gate.enter(limits, patience=0.0)
        times: list[float] = []

        async def wait() -> None:
            times.extend(await entered(gate, limits, 3))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not times
            with redis_server(tmp_path, port=port):
                while len(times) < 3:  # noqa: ASYNC110 - there is nobody to tell
                    await anyio.sleep(0.01)
                await stack.__aexit__(None, None, None)
        assert times[-1] - times[0] >= 0.015

    with caplog.at_level(logging.WARNING):
        run(main)
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "the Redis that keeps the shared gates",
        "the shared gates' Redis answers again",
    ]


def gates_of(address: str, capacities: Capacities) -> AbstractAsyncContextManager[Gates]:
    """One machine's gates, with what they have to tell told."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gates]:
        async with shared_gates_at(address), anyio.create_task_group() as tasks:
            gates = Gates(capacities, Events(), shared_gate)
            tasks.start_soon(gates.tell)
            yield gates
            tasks.cancel_scope.cancel()

    return opened()


async def start(gates: Gates, host: str, count: int = 1) -> None:
    for _ in range(count):
        went_in = False
        while not went_in:
            await gates.wait(host)
            went_in = gates.enter(host)
        gates.leave(host, throttled=False, well=gates.entries(host))


def test_downloads_of_all_machines_keep_a_hosts_rate(server: str) -> None:
    async def main() -> None:
        limits = Capacities(rate=20)
        async with gates_of(server, limits) as one, gates_of(server, limits) as other:
            began = anyio.current_time()
            assert not one.enter("h.org"), "nothing goes in without a permit"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start, one, "h.org", 5)
                tasks.start_soon(start, other, "h.org", 5)
                tasks.start_soon(start, other, "elsewhere.org")
            assert anyio.current_time() - began >= 9 / 20

    run(main)


def test_a_host_that_turns_one_machine_away_is_left_alone_by_all(server: str) -> None:
    async def main() -> None:
        async with gates_of(server, Capacities()) as one, gates_of(server, Capacities()) as other:
            await one.wait("full.org")
            assert one.enter("full.org")
            one.refuse("full.org", 40, "429", "a")
            one.leave("full.org", throttled=True, item="a")
            while (closure := other.closure("full.org")) is None:
                with anyio.move_on_after(0.05):
                    await start(other, "full.org")
            assert 35 < closure.seconds <= 40
            assert closure.reason == "another machine was told to slow down"

    run(main)


def test_one_line_where_redis_cannot_be_used(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match=r"limits\.shared_gates: the Redis .* no answer"):
            async with shared_gates_at(f"redis://127.0.0.1:{free_port()}"):
                pass
        with (
            redis_server(tmp_path, "--requirepass", "hush") as address,
            pytest.raises(UsageError, match="REDIS_PASSWORD"),
        ):
            async with shared_gates_at(address):
                pass

    run(main)


@pytest.mark.parametrize("address", ["http://h", "redis://:pw@h:6379", "h:6379", "redis://"])
def test_an_address_is_checked(address: str) -> None:
    with pytest.raises(ValueError, match="give"):
        LimitSettings(shared_gates=address)
