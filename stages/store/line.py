"""The line to an object store: uploads take turns on it, and some go first."""

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import RunVar

from engine import Loan, borrow


class Line:
    """At most `streams` turns at once. Who is to go first gets one before all others; among equals
    first come, first served.

    A large file takes a turn for each of its pieces. So the frames of a video, which go first, do
    not wait for the whole file of another, only for a piece of it, nor for any file that waits.
    """

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self._inside = 0
        self._first: deque[anyio.Event] = deque()
        self._others: deque[anyio.Event] = deque()
        self._keys: dict[str, anyio.Lock] = {}
        self._wanted: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """The number of those that wait for a turn."""
        return len(self._first) + len(self._others)

    def tighten(self, streams: int) -> None:
        """At most `streams` from now on."""
        self.streams = min(self.streams, streams)

    async def enter(self, *, first: bool) -> None:
        """Wait for a turn; `leave` ends it, from any task."""
        waiting = self._first if first else self._others
        if self._inside < self.streams and not self._first and not waiting:
            self._inside += 1
            return
        turn = anyio.Event()
        waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it got its turn and was cancelled at the same time
                self.leave()
            else:
                waiting.remove(turn)
            raise

    def leave(self) -> None:
        self._inside -= 1
        while self._inside < self.streams and (self._first or self._others):
            self._inside += 1
            (self._first or self._others).popleft().set()

    @asynccontextmanager
    async def turn(self, *, first: bool) -> AsyncIterator[None]:
        """A turn for the length of the block."""
        await self.enter(first=first)
        try:
            yield
        finally:
            self.leave()

    @asynccontextmanager
    async def alone_with(self, key: str) -> AsyncIterator[None]:
        """Waits while anybody else is at work on this key: who comes second finds it there."""
        self._wanted[key] += 1
        lock = self._keys.setdefault(key, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key], self._keys[key]


_run: RunVar[object] = RunVar("store line")


def share_line(store: str, streams: int) -> Loan[Line]:
    """The line to the store of this address, for all steps of a run; give it back after use. Where
    they allow different numbers of streams the lowest holds. Call it on the run's event loop."""
    try:
        run = _run.get()
    except LookupError:
        run = object()
        _run.set(run)
    loan = borrow(("store line", run, store), lambda: Line(streams), lambda line: None)
    loan.thing.tighten(streams)
    return loan
