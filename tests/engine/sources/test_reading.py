"""Where items come from: read lazily, off the loop, and left alone when it blocks."""

import threading
from collections.abc import Iterator
from contextlib import aclosing

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from engine.sources import reading as feed
from engine.sources.reading import Turns, read_lazily
from tests.engine.toys import engine_threads, until

pytestmark = pytest.mark.anyio


class Source:
    """Numbers without end; says how many were read, where, and whether it was closed."""

    def __init__(self) -> None:
        self.read = 0
        self.thread = ""
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            while True:
                self.read += 1
                self.thread = threading.current_thread().name
                yield self.read
        finally:
            self.closed = True


async def test_values_are_read_when_they_are_wanted_in_a_thread_of_their_own() -> None:
    source = Source()
    async with aclosing(read_lazily(source, "penstock-numbers")) as numbers:
        assert source.read == 0
        assert await anext(numbers) == 1
        assert source.read == 1
        assert source.thread == "penstock-numbers"
        assert not source.closed
    assert source.closed
    assert engine_threads() == []


@pytest.mark.parametrize("values", [[1, 2, 3], (1, 2, 3), iter([1, 2, 3]), range(1, 4)])
async def test_anything_that_can_be_iterated_is_a_source(values: object) -> None:
    async with aclosing(read_lazily(values, "penstock-numbers")) as numbers:  # type: ignore[arg-type]
        assert [number async for number in numbers] == [1, 2, 3]
    assert engine_threads() == []


async def test_what_goes_wrong_in_a_source_is_raised() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the list is torn")

    with pytest.raises(ValueError, match="the list is torn"):
        async with aclosing(read_lazily(broken(), "penstock-numbers")) as numbers:
            [number async for number in numbers]
    assert engine_threads() == []


async def test_a_source_that_blocks_is_left_to_itself_and_closed_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "CLOSING", 3600)
    closed, blocked, go_on = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> Iterator[int]:
        try:
            yield 1
            blocked.set()
            go_on.wait()
            yield 2
        finally:
            closed.set()

    async def read() -> None:
        async with aclosing(read_lazily(blocks(), "penstock-numbers")) as numbers:
            async for _ in numbers:
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until(blocked.is_set)
        tasks.cancel_scope.cancel()
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(5)
    assert engine_threads() == []


async def test_the_deepest_list_is_read_first() -> None:
    turns, order = Turns(), list[str]()

    async def feed(name: str, depth: int) -> None:
        await turns.wait(depth)
        order.append(name)

    async with anyio.create_task_group() as tasks:
        with turns.reading(0):
            with turns.reading(1):
                with turns.reading(2):
                    for name, depth in (("source", 0), ("channel", 1), ("playlist", 2)):
                        tasks.start_soon(feed, name, depth)
                    await wait_all_tasks_blocked()
                    assert order == ["playlist"]
                await wait_all_tasks_blocked()
                assert order == ["playlist", "channel"]
            await wait_all_tasks_blocked()
            assert order == ["playlist", "channel", "source"]
