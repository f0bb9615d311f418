"""Turns on the line to a store: who goes first, and never more than there are streams."""

import anyio
from hypothesis import given
from hypothesis import strategies as st

from stages.store.line import Line, share_line
from tests.virtual_time import run_in_virtual_time


def test_a_file_that_goes_first_waits_for_a_piece_of_a_large_one_and_not_for_all_of_it():
    order: list[str] = []

    async def large(line: Line) -> None:
        for piece in range(3):
            await line.enter(first=False)
            await anyio.sleep(1)
            order.append(f"piece {piece}")
            line.leave()

    async def small(line: Line, name: str) -> None:
        await anyio.sleep(0.5)
        async with line.turn(first=True):
            await anyio.sleep(1)
            order.append(name)

    async def run() -> None:
        line = Line(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(large, line)
            tasks.start_soon(small, line, "first")
            tasks.start_soon(small, line, "second")

    run_in_virtual_time(run)
    assert order == ["piece 0", "first", "second", "piece 1", "piece 2"]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), max_size=30),
    st.integers(1, 4),
)
def test_streams_are_bounded_and_none_is_lost(asked, streams):
    inside, most = 0, 0

    async def one(line: Line, first: bool, after: int, leaves: bool) -> None:
        nonlocal inside, most
        await anyio.sleep(after)
        with anyio.move_on_after(0.5 if leaves else None):
            await line.enter(first=first)
            inside += 1
            most = max(most, inside)
            try:
                await anyio.sleep(1)
            finally:
                inside -= 1
                line.leave()

    async def run() -> None:
        line = Line(streams)
        async with anyio.create_task_group() as tasks:
            for first, after, leaves in asked:
                tasks.start_soon(one, line, first, after, leaves)
        for _ in range(streams):
            await line.enter(first=False)  # all turns are free again

    run_in_virtual_time(run)
    assert most <= streams


def test_steps_of_one_run_share_a_line_with_the_fewest_streams():
    async def run() -> None:
        one, other, elsewhere = share_line("a", 4), share_line("a", 2), share_line("b", 8)
        assert one.thing is other.thing
        assert one.thing.streams == 2
        assert elsewhere.thing.streams == 8
        for loan in (one, other, elsewhere):
            loan.give_back()

    anyio.run(run)


def test_one_key_is_one_at_a_time():
    busy: list[str] = []

    async def put(line: Line) -> None:
        async with line.alone_with("key"):
            assert not busy
            busy.append("key")
            await anyio.sleep(1)
            busy.clear()

    async def run() -> None:
        line = Line(4)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(put, line)

    run_in_virtual_time(run)
