"""Reads the source lazily, and the items that lists produce."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Generic, TypeVar

import anyio

from engine.contract.item import Item
from engine.gates.disk import DiskGate
from engine.workers.call_thread import CallThread

T = TypeVar("T")
U = TypeVar("U")

CLOSING = 1.0
"""Seconds that a source which was not read to its end has to close itself."""


async def read_lazily(
    values: Iterable[T] | AsyncGenerator[T, None], name: str
) -> AsyncGenerator[T, None]:
    """The values, each read off the event loop and only on demand. Use with `aclosing`.

    A source that blocks, such as a terminal, blocks a thread; the thread is abandoned when the
    reading task is cancelled. A list that another process reads comes as an async generator.
    """
    if isinstance(values, AsyncGenerator):
        async with aclosing(values):
            async for value in values:
                yield value
        return
    thread, reader = CallThread(name), _Reader(values)
    try:
        while (box := await thread.call(reader.next)) is not None:
            yield box[0]
    finally:
        # Nobody waits for a source that blocks: if it ever returns, its thread closes it.
        with anyio.move_on_after(0 if reader.reading else CLOSING, shield=True):
            await thread.call(reader.close)
        thread.close()


def mapped(function: Callable[[T], U], values: Iterable[T]) -> Iterator[U]:
    """Like `map`, but closing the result closes `values` too."""
    iterator = iter(values)
    try:
        for value in iterator:
            yield function(value)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


async def amapped(
    function: Callable[[T], U], values: AsyncGenerator[T, None]
) -> AsyncGenerator[U, None]:
    """The same for an async generator."""
    async with aclosing(values):
        async for value in values:
            yield function(value)


class _Reader(Generic[T]):
    """An iterable that a thread reads; `reading` may be asked from any thread."""

    def __init__(self, values: Iterable[T]) -> None:
        self._values = values
        self._iterator: Iterator[T] | None = None
        self.reading = False

    def next(self) -> tuple[T] | None:
        self.reading = True
        try:
            self._iterator = self._iterator or iter(self._values)
            for value in self._iterator:
                return (value,)
            return None
        finally:
            self.reading = False

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class Turns:
    """Gives the turn to feed items: the deepest list first.

    A list from within a list is read to its end before the outer one goes on, and that one before
    the source does: so the queues bound the number of half-read lists.
    """

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._changed = anyio.Event()

    @contextmanager
    def reading(self, depth: int) -> Iterator[None]:
        """Registers that a list at this depth is being read during the block; the source is at
        depth 0."""
        self._open[depth] += 1
        try:
            yield
        finally:
            self._open[depth] -= 1
            self._changed.set()
            self._changed = anyio.Event()

    async def wait(self, depth: int) -> None:
        """Return when no deeper list is being read."""
        while any(count and other > depth for other, count in self._open.items()):
            await self._changed.wait()


class Feed:
    """Reads the source, and the lists found on the way, no faster than there is room for items."""

    def __init__(self, disk: DiskGate, in_flight: Callable[[], int]) -> None:
        """`in_flight` is the number of items under way, including the one being read."""
        self._disk = disk
        self._in_flight = in_flight
        self._turns = Turns()
        self._open = 0

    async def feed(
        self,
        values: Iterable[T] | AsyncGenerator[T, None],
        admit: Callable[[T], Awaitable[None]],
        depth: int,
        name: str = "source",
    ) -> int:
        """Have `admit` take in the items of these values, one after the other; returns their
        number. `depth` is the number of lists that they are nested in, `name` names their origin.

        Raises the errors of the values and of `admit`, and StopRun where the disk is full and no
        item is under way that could free it.
        """
        count = 0
        self._open += 1
        try:
            with self._turns.reading(depth):
                async with aclosing(read_lazily(values, f"penstock-{name}")) as read:
                    async for value in read:
                        await self._turns.wait(depth)
                        await self._disk.wait_for_room(lambda: self._in_flight() > self._open)
                        await admit(value)
                        count += 1
        finally:
            self._open -= 1
        return count


def as_item(value: object) -> Item:
    """`value`, if it is an Item: a stage may have returned anything."""
    if not isinstance(value, Item):
        raise TypeError(f"process() gave {value!r} among its items")
    return value
