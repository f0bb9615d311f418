"""A pool's inbox: bounded, and it knows of every item that the pool holds, wherever it waits."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

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
        self._putters: deque[anyio.Event] = deque()
        self._takers: deque[anyio.Event] = deque()
        self._unparkers: deque[anyio.Event] = deque()

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

    async def take(self) -> T:
        """Wait for an entry and take it in hand. Raises Closed when none can come any more."""
        while not self._ready or self._draining:
            if self._closed or self._draining:
                raise Closed
            await self._wait(self._takers)
        return self._take()

    def take_nowait(self, suits: Callable[[T], bool] = lambda entry: True) -> T | None:
        """Take the next entry in hand if there is one, and it suits."""
        if not self._ready or self._draining or not suits(self._ready[0]):
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
        held = len(self._ready) + self._in_hand + max(0, self._parked - self._free_parked)
        return len(self._ready) < self.bound and held < self.bound + self._workers

    async def _wait(self, queue: deque[anyio.Event]) -> None:
        event = anyio.Event()
        queue.append(event)
        try:
            await event.wait()
        except BaseException:
            if event in queue:
                queue.remove(event)
            else:
                self._wake()  # woken, then cancelled: the wake-up is somebody else's
            raise

    def _wake(self) -> None:
        """Wake whoever can go on now; each, having gone on, wakes the next."""
        if self._takers and self._ready:
            self._takers.popleft().set()
        if len(self._ready) < self.bound and self._unparkers:
            self._unparkers.popleft().set()
        elif self._putters and self._has_room():
            self._putters.popleft().set()

    def _wake_all(self) -> None:
        for queue in (self._putters, self._takers, self._unparkers):
            while queue:
                queue.popleft().set()
