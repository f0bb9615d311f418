"""The inbox: bounded whatever waits where, first in first out, and no wake-up is ever lost."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.flow.inbox import Closed, Inbox, InboxStatistics
from tests.virtual_time import run_in_virtual_time

pytestmark = pytest.mark.anyio


class Log(list[str]):
    """What has happened, in order; `note` waits for something and then writes down what it was."""

    async def note(self, name: str, wait: Callable[[], Awaitable[object]]) -> None:
        self.append(f"{name}: {await wait()}")


async def test_entries_come_out_in_the_order_they_went_in() -> None:
    inbox: Inbox[int] = Inbox(3, 1)
    for number in range(3):
        assert await inbox.inlet.put(number)
    assert [await inbox.outlet.take() for _ in range(3)] == [0, 1, 2]


async def test_a_full_inbox_holds_back_and_lets_in_one_for_each_that_leaves() -> None:
    inbox, log = Inbox[int](1, 1), Log()
    await inbox.inlet.put(0)
    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(log.note, f"put {number}", lambda n=number: inbox.inlet.put(n))
        await wait_all_tasks_blocked()
        assert log == []
        assert await inbox.outlet.take() == 0
        await wait_all_tasks_blocked()
        assert log == ["put 1: True"]
        assert inbox.outlet.take_nowait() == 1
        await wait_all_tasks_blocked()
        assert log == ["put 1: True"], "two in hand and one worker: no room"
        inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert log == ["put 1: True", "put 2: True"]


def anything(entry: int) -> bool:
    return True


async def test_who_waits_for_more_goes_before_who_has_nothing_and_is_not_robbed() -> None:
    inbox, log = Inbox[int](4, 2), Log()
    outlet = inbox.outlet
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "take", outlet.take)
        await wait_all_tasks_blocked()
        tasks.start_soon(log.note, "more", lambda: outlet.take_more(anything))
        await wait_all_tasks_blocked()
        await inbox.inlet.put(0)
        assert outlet.take_nowait() is None, "it is promised"
        await wait_all_tasks_blocked()
        assert log == ["more: 0"]
        await inbox.inlet.put(1)
        await wait_all_tasks_blocked()
        assert log == ["more: 0", "take: 1"]


async def test_more_that_does_not_suit_is_left_to_others() -> None:
    inbox, log = Inbox[int](4, 2), Log()
    outlet = inbox.outlet
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "more", lambda: outlet.take_more(lambda entry: entry > 5))
        tasks.start_soon(log.note, "take", outlet.take)
        await wait_all_tasks_blocked()
        await inbox.inlet.put(1)
    assert sorted(log) == ["more: None", "take: 1"]


async def test_who_waits_for_more_is_sent_away_when_there_can_be_none() -> None:
    for end in ("close", "drain", "release"):
        inbox, log = Inbox[int](4, 2), Log()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.note, "more", lambda one=inbox: one.outlet.take_more(anything))
            await wait_all_tasks_blocked()
            inbox.outlet.release(1) if end == "release" else getattr(inbox.inlet, end)()
        assert log == ["more: None"]
    full = Inbox[int](1, 1)
    for number in range(2):
        await full.inlet.put(number)
        await full.outlet.take()
    assert await full.outlet.take_more(anything) is None, "the pool holds as many as it may"


async def test_who_is_cancelled_while_waiting_for_more_leaves_what_came_to_others() -> None:
    inbox, log = Inbox[int](4, 2), Log()
    more = asyncio.ensure_future(inbox.outlet.take_more(anything))
    await wait_all_tasks_blocked()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "take", inbox.outlet.take)
        await wait_all_tasks_blocked()
        await inbox.inlet.put(0)  # the first is woken, and has not run since
        more.cancel()
    assert more.cancelled()
    assert log == ["take: 0"]
    assert inbox.outlet.statistics() == InboxStatistics(ready=0, in_hand=1, held=0)


async def test_what_is_parked_still_occupies_the_pool() -> None:
    inbox, log = Inbox[int](1, 1), Log()
    await inbox.inlet.put(0)
    await inbox.outlet.take()
    inbox.outlet.hold()
    await inbox.inlet.put(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "put", lambda: inbox.inlet.put(2))
        await wait_all_tasks_blocked()
        assert await inbox.outlet.take() == 1
        await wait_all_tasks_blocked()
        assert log == [], "one held, one in hand: the pool is full"
        assert inbox.outlet.statistics() == InboxStatistics(ready=0, in_hand=1, held=1)
        inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert log == ["put: True"]


async def test_so_many_may_be_parked_for_nothing() -> None:
    inbox: Inbox[int] = Inbox(1, 1, free_held=2)
    for number in range(2):
        await inbox.inlet.put(number)
        await inbox.outlet.take()
        inbox.outlet.hold()
    await inbox.inlet.put(2)
    await inbox.outlet.take()
    assert await inbox.inlet.put(3), "there is room as if nothing were held"


async def test_a_parked_entry_comes_back_before_all_others() -> None:
    inbox: Inbox[int] = Inbox(2, 2)
    await inbox.inlet.put(0)
    await inbox.outlet.take()
    inbox.outlet.hold()
    await inbox.inlet.put(1)
    assert await inbox.outlet.unhold(0)
    assert [await inbox.outlet.take(), await inbox.outlet.take()] == [0, 1]


async def test_only_what_suits_is_taken_along() -> None:
    inbox: Inbox[int] = Inbox(2, 1)
    assert inbox.outlet.take_nowait() is None
    await inbox.inlet.put(1)
    await inbox.inlet.put(2)
    assert inbox.outlet.take_nowait(lambda entry: entry % 2 == 0) is None, "the next one is 1"
    assert inbox.outlet.take_nowait(lambda entry: entry % 2 == 1) == 1


async def test_closing_lets_out_what_is_there_and_then_says_so() -> None:
    inbox, log = Inbox[int](2, 2), Log()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "take", inbox.outlet.take)
        await wait_all_tasks_blocked()
        await inbox.inlet.put(0)
        await inbox.inlet.put(1)
        await wait_all_tasks_blocked()
        inbox.inlet.close()
        assert log == ["take: 0"]
        assert await inbox.outlet.take() == 1
        with pytest.raises(Closed):
            await inbox.outlet.take()


async def test_draining_frees_all_who_wait_and_keeps_what_is_there() -> None:
    inbox, log = Inbox[int](1, 1), Log()
    await inbox.inlet.put(0)
    await inbox.outlet.take()
    inbox.outlet.hold()
    await inbox.inlet.put(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "put", lambda: inbox.inlet.put(2))
        tasks.start_soon(log.note, "unhold", lambda: inbox.outlet.unhold(0))
        await wait_all_tasks_blocked()
        inbox.inlet.drain()
    assert sorted(log) == ["put: False", "unhold: False"]
    assert not await inbox.inlet.put(3)
    assert inbox.outlet.take_nowait() is None
    with pytest.raises(Closed):
        await inbox.outlet.take()
    assert inbox.outlet.statistics() == InboxStatistics(ready=1, in_hand=0, held=1)


async def test_draining_wakes_takers() -> None:
    inbox: Inbox[int] = Inbox(1, 1)

    async def take() -> None:
        with pytest.raises(Closed):
            await inbox.outlet.take()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await wait_all_tasks_blocked()
        inbox.inlet.drain()


async def test_who_is_idle_can_be_sent_away() -> None:
    inbox, log = Inbox[int](2, 3), Log()
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(log.note, f"take {number}", inbox.outlet.take)
        await wait_all_tasks_blocked()
        inbox.outlet.release(2)
        await wait_all_tasks_blocked()
        assert log == ["take 0: None", "take 1: None"]
        await inbox.inlet.put(7)
        await wait_all_tasks_blocked()
        assert log[2:] == ["take 2: 7"]
        inbox.outlet.release(2)
        await inbox.inlet.put(8)
        assert await inbox.outlet.take() == 8, "who comes later is not meant"


async def test_more_workers_make_room() -> None:
    inbox, log = Inbox[int](1, 1), Log()
    for number in range(2):
        await inbox.inlet.put(number)
        if number == 0:
            await inbox.outlet.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "put", lambda: inbox.inlet.put(2))
        await wait_all_tasks_blocked()
        inbox.outlet.resize(2)
        await inbox.outlet.take()
        await wait_all_tasks_blocked()
        assert log == ["put: True"]


async def test_a_wake_up_that_came_too_late_goes_to_the_next() -> None:
    inbox, log = Inbox[int](2, 2), Log()
    scope = anyio.CancelScope()

    async def doomed() -> None:
        with scope:
            await inbox.outlet.take()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(doomed)
        await wait_all_tasks_blocked()
        tasks.start_soon(log.note, "second", inbox.outlet.take)
        await wait_all_tasks_blocked()
        scope.cancel()  # before the put, so that the wake-up finds it on its way out
        await inbox.inlet.put(0)
    assert log == ["second: 0"]


async def test_who_is_woken_for_nothing_keeps_its_place() -> None:
    """One that comes back takes the room for which the first in line was woken."""
    inbox, log = Inbox[int](1, 2), Log()
    for number in range(2):
        await inbox.inlet.put(number)
        assert await inbox.outlet.take() == number
    await inbox.inlet.put(2)
    async with anyio.create_task_group() as tasks:
        for number in (3, 4):
            tasks.start_soon(log.note, f"put {number}", lambda n=number: inbox.inlet.put(n))
            await wait_all_tasks_blocked()
        inbox.outlet.hold()
        inbox.outlet.leave()
        assert await inbox.outlet.take() == 2  # wakes the first in line
        assert await inbox.outlet.unhold(0)
        await wait_all_tasks_blocked()
        assert log == []
        assert await inbox.outlet.take() == 0
        inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert log == ["put 3: True"]
        assert await inbox.outlet.take() == 3
        inbox.outlet.leave()
        await wait_all_tasks_blocked()
        assert log == ["put 3: True", "put 4: True"]


async def test_who_comes_later_waits_behind_those_who_wait() -> None:
    inbox, log = Inbox[int](1, 1), Log()
    await inbox.inlet.put(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.note, "put 1", lambda: inbox.inlet.put(1))
        await wait_all_tasks_blocked()
        assert (
            await inbox.outlet.take() == 0
        )  # there is room, and the first has not heard of it yet
        tasks.start_soon(log.note, "put 2", lambda: inbox.inlet.put(2))
        await wait_all_tasks_blocked()
        inbox.outlet.leave()
        assert await inbox.outlet.take() == 1
        await wait_all_tasks_blocked()
        assert log == ["put 1: True", "put 2: True"]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "hold", "unhold", "leave", "cancel"]), st.integers(0, 9)
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(1, 3), st.integers(1, 3))
def test_nothing_is_lost_and_nothing_overflows(
    actions: list[tuple[str, int]], bound: int, workers: int
) -> None:
    """Any interleaving of puts, takes, parkings, cancellations; then everything is let through."""

    async def main() -> None:
        inbox: Inbox[int] = Inbox(bound, workers)
        hand: list[int] = []
        held: list[int] = []
        gone: list[int] = []
        scopes: list[anyio.CancelScope] = []
        put = 0

        async def cancellable(work: Callable[[], Awaitable[None]]) -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await work()

        async def take() -> None:
            hand.append(await inbox.outlet.take())

        async def unhold(entry: int) -> None:
            try:
                await inbox.outlet.unhold(entry)
            except BaseException:
                held.append(entry)
                raise

        went_in: list[int] = []

        async def put_one(entry: int) -> None:
            await inbox.inlet.put(entry)
            went_in.append(entry)

        def check() -> None:
            now = inbox.outlet.statistics()
            assert now.ready <= bound
            assert now.ready + now.in_hand + now.held <= bound + workers

        async with anyio.create_task_group() as tasks:
            for action, number in actions:
                if action == "put":
                    put += 1
                    tasks.start_soon(cancellable, lambda entry=put: put_one(entry))
                elif action == "take" and inbox.outlet.statistics().in_hand < workers:
                    tasks.start_soon(cancellable, take)
                elif action == "hold" and hand:
                    held.append(hand.pop())
                    inbox.outlet.hold()
                elif action == "unhold" and held:
                    entry = held.pop()
                    tasks.start_soon(cancellable, lambda entry=entry: unhold(entry))
                elif action == "leave" and hand:
                    gone.append(hand.pop())
                    inbox.outlet.leave()
                elif action == "cancel" and scopes:
                    scopes[number % len(scopes)].cancel()
                if number % 3 == 0:
                    await wait_all_tasks_blocked()
                check()
            await wait_all_tasks_blocked()
            with anyio.fail_after(2):  # let all that is still waiting through
                while hand or held or inbox.outlet.statistics().ready:
                    while (ready := inbox.outlet.take_nowait()) is not None:
                        hand.append(ready)
                    while hand:
                        gone.append(hand.pop())
                        inbox.outlet.leave()
                    if held:
                        await inbox.outlet.unhold(held.pop())
                    await wait_all_tasks_blocked()
            check()
            tasks.cancel_scope.cancel()
        assert sorted(gone) == sorted(went_in)

    run_in_virtual_time(main)
