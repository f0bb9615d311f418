"""A pool's inbox: bounded, and aware of every item that the pool holds, wherever it waits."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.flow.inbox.rules import InboxState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InboxStatistics:
    """Numbers of items that are ready for a worker, in a worker's hand, and
    held outside the workers."""

    ready: int
    in_hand: int
    held: int


class Closed(Exception):
    """No more items come out of this inbox."""


class _Place(asyncio.Future[bool]):
    """A place in a line for room, of an entry of this priority."""

    def __init__(self, priority: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.priority = priority


class _Shared(Generic[T]):
    """The state that the two ends of an inbox share: the rules, and the tasks that wait.

    `fillers` wait for more of a batch, and go before `takers`, who wait for their first entry.
    `promised` counts the ready entries of fillers that were woken and have not run since.
    """

    __slots__ = ("closed", "draining", "fillers", "held_by", "promised", "rules", "takers")

    def __init__(self, rules: "InboxState[T, _Place]") -> None:
        self.rules = rules
        self.closed = False
        self.draining = False
        self.promised = 0
        self.fillers: deque[asyncio.Future[bool]] = deque()
        self.takers: deque[asyncio.Future[bool]] = deque()
        self.held_by: list[Callable[[Callable[[T], bool]], None]] = []

    async def stand_in(
        self, line: deque[_Place], has_room: Callable[[], bool], priority: int = 0
    ) -> None:
        """Wait in line, before those of lower priorities, until there is room, or draining. A task
        that is woken and finds the room taken keeps its place. It leaves the line when it has used
        its place; then the next one is woken."""
        place = _Place(priority)
        before = (at for at, other in enumerate(line) if other.priority < priority)
        line.insert(next(before, len(line)), place)
        try:
            while not self.draining:
                await place
                if has_room():
                    break
                position, place = line.index(place), _Place(priority)
                line[position] = place
        except BaseException:
            line.remove(place)
            self.wake()  # it may have been woken: pass the wake-up on
            raise
        line.remove(place)

    async def wait_for_more(self) -> bool:
        """Wait for an entry before all who wait for their first; false if sent away."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.fillers.append(future)
        try:
            promised = await future
        except BaseException:
            if future in self.fillers:
                self.fillers.remove(future)
            else:  # woken, then cancelled: the entry is somebody else's
                self.promised -= not future.cancelled() and future.result()
                self.wake()
            raise
        self.promised -= promised
        return promised

    async def wait_for_entry(self) -> bool:
        """Wait until woken; false if sent away."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.takers.append(future)
        try:
            return await future
        except BaseException:
            if future in self.takers:
                self.takers.remove(future)
            else:
                self.wake()  # woken, then cancelled: pass the wake-up on
            raise

    def wake(self) -> None:
        """Wake the next task that can go on; each wakes the next in turn."""
        rules = self.rules
        if (self.takers or self.fillers) and rules.ready > self.promised:
            if self.fillers:
                self.promised += self.answer(self.fillers, True)
            else:
                self.answer(self.takers, True)
        if rules.putters or rules.unholders:  # mostly none waits, and a call costs time
            line = rules.next_line()
            if line is not None and not line[0].done():
                line[0].set_result(True)

    def wake_all(self) -> None:
        while self.fillers:
            self.answer(self.fillers, False)
        while self.takers:
            self.answer(self.takers, True)
        for place in (*self.rules.putters, *self.rules.unholders):
            if not place.done():
                place.set_result(True)

    def answer(self, line: deque[asyncio.Future[bool]], answer: bool) -> bool:
        """Answer the first in line; false if it was cancelled. It then passes the answer on when
        it notices."""
        waiting = line.popleft()
        if waiting.done():
            return False
        waiting.set_result(answer)
        return True


class Inlet(Generic[T]):
    """The end of an inbox where entries come in: the run holds it."""

    __slots__ = ("_shared",)

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared

    @property
    def is_empty(self) -> bool:
        """Whether the pool has no entry: ready, in hand or held."""
        rules = self._shared.rules
        return not (rules.ready or rules.in_hand or rules.held)

    async def put(self, entry: T) -> bool:
        """Wait for room, then put `entry` in. False, and nothing done, when draining."""
        shared = self._shared
        if not shared.rules.admits():
            priority = shared.rules.priority_of(entry)
            await shared.stand_in(shared.rules.putters, shared.rules.has_room, priority)
        if shared.draining:
            return False
        shared.rules.put(entry)
        shared.wake()
        return True

    def put_nowait(self, entry: T) -> bool:
        """Leave `entry` here if there is room. False, and nothing done, if not or when draining."""
        shared = self._shared
        if shared.draining or not shared.rules.admits():
            return False
        shared.rules.put(entry)
        shared.wake()
        return True

    def withdraw(self, suits: Callable[[T], bool]) -> None:
        """Take out what suits, ready or held; what is in hand stays there."""
        shared = self._shared
        shared.rules.withdraw(suits)
        for withdraw in shared.held_by:
            withdraw(suits)
        shared.wake()

    def close(self) -> None:
        """No more entries will be put; takers get the remaining ones, then Closed."""
        self._shared.closed = True
        self._shared.wake_all()

    def drain(self) -> None:
        """Stop all entries: none goes in or out any more, and waiting ones stay where they are."""
        self._shared.draining = True
        self._shared.wake_all()


class Outlet(Generic[T]):
    """The end of an inbox where entries are taken in hand, held, and leave: the pool holds it."""

    __slots__ = ("_again", "_shared")

    def __init__(self, shared: _Shared[T], inlet: Inlet[T]) -> None:
        self._shared = shared
        self._again = inlet

    @property
    def bound(self) -> int:
        """Items that may be ready at once."""
        return self._shared.rules.bound

    @property
    def is_draining(self) -> bool:
        """Whether `Inlet.drain` was called."""
        return self._shared.draining

    async def take(self) -> T | None:
        """Wait for an entry and take it in hand; None if `release` sent the taker away.

        Raises Closed when none can come any more.
        """
        shared = self._shared
        while shared.rules.ready <= shared.promised or shared.draining:
            if shared.closed or shared.draining:
                raise Closed
            if not await shared.wait_for_entry():
                return None
        entry = shared.rules.take()
        shared.wake()
        return entry

    def release(self, takers: int) -> None:
        """Send away up to `takers` of the tasks that wait in `take` or `take_more`."""
        shared = self._shared
        for _ in range(min(takers, len(shared.takers) + len(shared.fillers))):
            shared.answer(shared.takers or shared.fillers, False)

    def take_nowait(self, suits: Callable[[T], bool] | None = None) -> T | None:
        """Take the next entry in hand if there is one and it suits."""
        shared = self._shared
        rules = shared.rules
        if rules.ready <= shared.promised or shared.draining or (suits and not suits(rules.next())):
            return None
        entry = rules.take()
        shared.wake()
        return entry

    async def take_more(self, suits: Callable[[T], bool]) -> T | None:
        """Wait for the next entry, before those who have none, and take it in hand if it suits.
        None if it does not, if `release` or the end of the inbox sent the taker away, and where
        none can come before another leaves."""
        shared = self._shared
        while shared.rules.ready <= shared.promised:
            if shared.closed or shared.draining or not shared.rules.has_room():
                return None
            if not await shared.wait_for_more():
                return None
        entry = self.take_nowait(suits)
        if entry is None:
            shared.wake()  # it suits somebody else
        return entry

    def recall(self) -> None:
        """A held entry, which the caller has, is in hand again, before all that are ready."""
        self._shared.rules.recall()

    def hold(self) -> None:
        """An entry in hand is held outside the workers; the caller keeps it."""
        self._shared.rules.hold()
        self._shared.wake()

    async def unhold(self, entry: T) -> bool:
        """A held entry is ready again, before all others. False when draining."""
        shared = self._shared
        if not shared.rules.readmits():
            await shared.stand_in(shared.rules.unholders, shared.rules.has_room_to_return)
        if shared.draining:
            return False
        shared.rules.unhold(entry)
        shared.wake()
        return True

    def held_by(self, withdraw: Callable[[Callable[[T], bool]], None]) -> None:
        """`withdraw` is called to take out what suits of the entries that are held, each of them by
        `give_up`."""
        self._shared.held_by.append(withdraw)

    def give_up(self) -> None:
        """A held entry leaves the pool."""
        self._shared.rules.give_up()
        self._shared.wake()

    def leave(self) -> None:
        """An entry in hand leaves the pool."""
        shared = self._shared
        shared.rules.leave()
        shared.wake()

    async def come_again(self, entry: T) -> bool:
        """An entry that has left comes in again like a new one, by `Inlet.put`."""
        return await self._again.put(entry)

    def resize(self, workers: int) -> None:
        """Set the number of the pool's workers."""
        self._shared.rules.workers = workers
        self._shared.wake()

    def statistics(self) -> InboxStatistics:
        rules = self._shared.rules
        return InboxStatistics(rules.ready, rules.in_hand, rules.held)


class Inbox(Generic[T]):
    """A queue of items for a pool's workers, by the rules of `InboxState`. The run makes it, and
    hands each of its two ends to its user.

    Nothing is lost when a waiting `put`, `take` or `unhold` is cancelled: it either happened or did
    not.
    """

    def __init__(
        self,
        bound: int,
        workers: int,
        free_held: int = 0,
        whole_of: Callable[[T], str | None] | None = None,
        priority_of: Callable[[T], int] | None = None,
    ) -> None:
        rules = InboxState[T, _Place](bound, workers, free_held, whole_of, priority_of)
        shared: _Shared[T] = _Shared(rules)
        self.inlet = Inlet(shared)
        self.outlet = Outlet(shared, self.inlet)
