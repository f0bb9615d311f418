"""A pool's inbox: bounded, and it knows of every item that the pool holds, wherever it waits."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InboxStatistics:
    """How many items are ready for a worker, in a worker's hand, and parked outside of both."""

    ready: int
    in_hand: int
    parked: int


class Closed(Exception):
    """No more items come out of this inbox."""


class Inbox(Generic[T]):
    """Items wait here for a worker, at most `bound` of them.

    An item belongs to the pool from `put` until `leave`, also while a worker has it in hand or it
    is parked for a retry, and a pool holds at most `bound + workers` items: so a stage whose items
    all wait for a retry holds back the stages before it, as a slow one does. `free_parked` items
    may be parked beyond that, for a stage whose waiting items occupy nothing but their ids.

    Order is first in, first out; an item that was parked comes back at the front. Nothing is lost
    when a waiting `put`, `take` or `unpark` is cancelled: it either happened or did not.
    """

    def __init__(self, bound: int, workers: int, free_parked: int = 0) -> None:
        self.bound = bound
        self._workers = workers
        self._free_parked = free_parked
        self._ready: deque[T] = deque()
        self._in_hand = 0
        self._parked = 0
        self._closed = False
        self._draining = False
        self._putters: deque[asyncio.Future[bool]] = deque()
        self._takers: deque[asyncio.Future[bool]] = deque()
        self._unparkers: deque[asyncio.Future[bool]] = deque()

    async def put(self, entry: T) -> bool:
        """Wait for room, then leave `entry` here. False, and nothing done, when draining."""
        while not self._has_room():
            if self._draining:
                return False
            await self._wait(self._putters)
        if self._draining:
            return False
        self._ready.append(entry)
        self._wake()
        return True

    async def take(self) -> T | None:
        """Wait for an entry and take it in hand; None if `release` sent the taker away.

        Raises Closed when none can come any more.
        """
        while not self._ready or self._draining:
            if self._closed or self._draining:
                raise Closed
            if not await self._wait(self._takers):
                return None
        return self._take()

    def release(self, takers: int) -> None:
        """Send away as many of those who wait in `take`, or as there are."""
        for _ in range(min(takers, len(self._takers))):
            _answer(self._takers, False)

    def take_nowait(self, suits: Callable[[T], bool] | None = None) -> T | None:
        """Take the next entry in hand if there is one, and it suits."""
        if not self._ready or self._draining or (suits and not suits(self._ready[0])):
            return None
        return self._take()

    def _take(self) -> T:
        entry = self._ready.popleft()
        self._in_hand += 1
        self._wake()
        return entry

    def park(self) -> None:
        """An entry in hand goes to wait outside any worker; the caller keeps it."""
        self._in_hand -= 1
        self._parked += 1
        self._wake()

    async def unpark(self, entry: T) -> bool:
        """A parked entry is ready again, before all others. False when draining."""
        while len(self._ready) >= self.bound:
            if self._draining:
                return False
            await self._wait(self._unparkers)
        if self._draining:
            return False
        self._parked -= 1
        self._ready.appendleft(entry)
        self._wake()
        return True

    def leave(self) -> None:
        """An entry in hand leaves the pool."""
        self._in_hand -= 1
        self._wake()

    def resize(self, workers: int) -> None:
        """The pool has this many workers now."""
        self._workers = workers
        self._wake()

    def close(self) -> None:
        """No more entries will be put; takers get what is there, then Closed."""
        self._closed = True
        self._wake_all()

    def drain(self) -> None:
        """Nothing goes in or out any more; entries that wait stay where they are."""
        self._draining = True
        self._wake_all()

    def statistics(self) -> InboxStatistics:
        return InboxStatistics(len(self._ready), self._in_hand, self._parked)

    def _has_room(self) -> bool:
        ready = len(self._ready)
        if ready >= self.bound:
            return False
        held = ready + self._in_hand
        if self._parked > self._free_parked:
            held += self._parked - self._free_parked
        return held < self.bound + self._workers

    async def _wait(self, queue: deque[asyncio.Future[bool]]) -> bool:
        """Wait until woken; false if sent away."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.append(future)
        try:
            return await future
        except BaseException:
            if future in queue:
                queue.remove(future)
            else:
                self._wake()  # woken, then cancelled: the wake-up is somebody else's
            raise

    def _wake(self) -> None:
        """Wake whoever can go on now; each, having gone on, wakes the next."""
        if self._takers and self._ready:
            _answer(self._takers, True)
        if self._unparkers and len(self._ready) < self.bound:
            _answer(self._unparkers, True)
        elif self._putters and self._has_room():
            _answer(self._putters, True)

    def _wake_all(self) -> None:
        for queue in (self._putters, self._takers, self._unparkers):
            while queue:
                _answer(queue, True)


def _answer(queue: deque[asyncio.Future[bool]], answer: bool) -> None:
    """Tell the first who waits. Who has been cancelled meanwhile passes it on when it notices."""
    waiting = queue.popleft()
    if not waiting.done():
        waiting.set_result(answer)
