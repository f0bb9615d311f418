"""A pool's inbox: bounded, and it knows of every item that the pool holds, wherever it waits."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class InboxStatistics:
    """How many items are ready for a worker, in a worker's hand, and held outside of both."""

    ready: int
    in_hand: int
    held: int


class Closed(Exception):
    """No more items come out of this inbox."""


class InboxState(Generic[T, W]):
    """The rules of an inbox, without any waiting: what a pool holds, for whom there is room, and
    who comes in next.

    An item belongs to the pool from `put` until `leave`, also while a worker has it in hand or it
    is held, and a pool holds at most `bound + workers` items, of which `bound` are ready: so a
    stage whose items all wait for a retry holds back the stages before it, as a slow one does.
    `free_held` items may be held beyond that, for a stage whose waiting items occupy nothing
    but their ids.

    `ready` is first in, first out; what was held comes back at the front. `putters` and
    `unholders` are whoever waits to come in, and to come back; a W is whatever stands for them.
    """

    __slots__ = (
        "bound", "free_held", "held", "in_hand", "putters", "ready", "unholders", "workers",
    )  # fmt: skip

    def __init__(self, bound: int, workers: int, free_held: int = 0) -> None:
        self.bound = bound
        self.workers = workers
        self.free_held = free_held
        self.ready: deque[T] = deque()
        self.in_hand = 0
        self.held = 0
        self.putters: deque[W] = deque()
        self.unholders: deque[W] = deque()

    def has_room(self) -> bool:
        """Whether one more item may come in."""
        ready = len(self.ready)
        if ready >= self.bound:
            return False
        taken = ready + self.in_hand
        if self.held > self.free_held:
            taken += self.held - self.free_held
        return taken < self.bound + self.workers

    def has_room_to_return(self) -> bool:
        """Whether one that is held, and so counts already, may come back."""
        return len(self.ready) < self.bound

    def admits(self) -> bool:
        """Whether one that is new may come in at once: nobody else waits for the room."""
        return not self.putters and not self.unholders and self.has_room()

    def readmits(self) -> bool:
        """Whether one that is held may come back at once."""
        return not self.unholders and self.has_room_to_return()

    def next_line(self) -> deque[W] | None:
        """Those of whom the first may come in now: who comes back goes before who is new."""
        if self.unholders and self.has_room_to_return():
            return self.unholders
        if self.putters and self.has_room():
            return self.putters
        return None

    def put(self, entry: T) -> None:
        """It comes in."""
        self.ready.append(entry)

    def take(self) -> T:
        """The next one goes into a worker's hand."""
        entry = self.ready.popleft()
        self.in_hand += 1
        return entry

    def hold(self) -> None:
        """One in hand goes to wait outside any worker."""
        self.in_hand -= 1
        self.held += 1

    def unhold(self, entry: T) -> None:
        """One that was held comes back."""
        self.held -= 1
        self.ready.appendleft(entry)

    def leave(self) -> None:
        """One in hand leaves the pool."""
        self.in_hand -= 1


class Inbox(Generic[T]):
    """Items wait here for a worker, by the rules of `InboxState`.

    Nothing is lost when a waiting `put`, `take` or `unhold` is cancelled: it either happened or did
    not.
    """

    def __init__(self, bound: int, workers: int, free_held: int = 0) -> None:
        self._state: InboxState[T, asyncio.Future[bool]] = InboxState(bound, workers, free_held)
        self._closed = False
        self._draining = False
        self._takers: deque[asyncio.Future[bool]] = deque()

    @property
    def bound(self) -> int:
        """Items that may be ready at once."""
        return self._state.bound

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    async def put(self, entry: T) -> bool:
        """Wait for room, then leave `entry` here. False, and nothing done, when draining."""
        if not self._state.admits():
            await self._stand_in(self._state.putters, self._state.has_room)
        if self._draining:
            return False
        self._state.put(entry)
        self._wake()
        return True

    async def take(self) -> T | None:
        """Wait for an entry and take it in hand; None if `release` sent the taker away.

        Raises Closed when none can come any more.
        """
        while not self._state.ready or self._draining:
            if self._closed or self._draining:
                raise Closed
            if not await self._wait_for_entry():
                return None
        return self._take()

    def release(self, takers: int) -> None:
        """Send away as many of those who wait in `take`, or as there are."""
        for _ in range(min(takers, len(self._takers))):
            self._answer_taker(False)

    def take_nowait(self, suits: Callable[[T], bool] | None = None) -> T | None:
        """Take the next entry in hand if there is one, and it suits."""
        ready = self._state.ready
        if not ready or self._draining or (suits and not suits(ready[0])):
            return None
        return self._take()

    def _take(self) -> T:
        entry = self._state.take()
        self._wake()
        return entry

    def hold(self) -> None:
        """An entry in hand goes to wait outside any worker; the caller keeps it."""
        self._state.hold()
        self._wake()

    async def unhold(self, entry: T) -> bool:
        """A held entry is ready again, before all others. False when draining."""
        if not self._state.readmits():
            await self._stand_in(self._state.unholders, self._state.has_room_to_return)
        if self._draining:
            return False
        self._state.unhold(entry)
        self._wake()
        return True

    def leave(self) -> None:
        """An entry in hand leaves the pool."""
        self._state.leave()
        self._wake()

    def resize(self, workers: int) -> None:
        """The pool has this many workers now."""
        self._state.workers = workers
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
        state = self._state
        return InboxStatistics(len(state.ready), state.in_hand, state.held)

    async def _stand_in(
        self, line: deque[asyncio.Future[bool]], has_room: Callable[[], bool]
    ) -> None:
        """Wait in line until there is room, or draining. Who is woken, and finds that the room has
        gone to another, keeps its place; it is left when it is used, and then who is next woken."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        line.append(place)
        try:
            while not self._draining:
                await place
                if has_room():
                    break
                position, place = line.index(place), loop.create_future()
                line[position] = place
        except BaseException:
            line.remove(place)
            self._wake()  # it may have been woken: then it is the next one's turn
            raise
        line.remove(place)

    async def _wait_for_entry(self) -> bool:
        """Wait until woken; false if sent away."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._takers.append(future)
        try:
            return await future
        except BaseException:
            if future in self._takers:
                self._takers.remove(future)
            else:
                self._wake()  # woken, then cancelled: the wake-up is somebody else's
            raise

    def _wake(self) -> None:
        """Wake whoever can go on now; each, having gone on, wakes the next."""
        state = self._state
        if self._takers and state.ready:
            self._answer_taker(True)
        if state.putters or state.unholders:  # mostly nobody waits, and a call takes its time
            line = state.next_line()
            if line is not None and not line[0].done():
                line[0].set_result(True)

    def _wake_all(self) -> None:
        while self._takers:
            self._answer_taker(True)
        for place in (*self._state.putters, *self._state.unholders):
            if not place.done():
                place.set_result(True)

    def _answer_taker(self, answer: bool) -> None:
        """Tell the first. Who has been cancelled meanwhile passes it on when it notices."""
        waiting = self._takers.popleft()
        if not waiting.done():
            waiting.set_result(answer)
