"""Where items come from: the source, and items that turn out to hold others. Read lazily."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from engine.call_thread import CallThread

T = TypeVar("T")


async def read_lazily(values: Iterable[T], name: str) -> AsyncIterator[T]:
    """The values, each read off the event loop and only when it is wanted.

    A source that blocks, such as a terminal, blocks a thread that is left to itself when the
    reading task is cancelled.
    """
    thread = CallThread(name)
    iterator = await thread.call(iter, values)
    try:
        while (box := await thread.call(_next, iterator)) is not None:
            yield box[0]
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            with anyio.move_on_after(1, shield=True):
                await thread.call(close)
        thread.close()


def _next(iterator: Iterator[T]) -> tuple[T] | None:
    for value in iterator:
        return (value,)
    return None


class Turns:
    """Whose turn it is to feed: the deepest first.

    A playlist that came out of a channel is read to its end before the channel goes on, and the
    channel before the source does, so the number of half-read lists is bounded by the queues.
    """

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._changed = anyio.Event()

    @contextmanager
    def reading(self, depth: int) -> Iterator[None]:
        """A list at this depth is being read during the block; the source is at depth 0."""
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
