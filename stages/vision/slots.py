"""How many calls are in flight at once: fewer while a server does not get through them in time."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Slots:
    """At most `most` calls in flight, first come, first served; fewer after time-outs.

    A server that works on one image at a time answers the others late, and by then nobody waits for
    them: the work is lost, and asking again makes it worse. By Little's law a server which answered
    n calls within the last `timeout` seconds keeps n in flight busy for just that long; with half
    as many each is answered in half the time. So that is how many there are from a time-out on.
    There are more again once answers come so quickly that with one more they would, at worst, still
    take half of the time there is.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self.most = most
        self.timeout = timeout
        self.lowest = most
        """The fewest at once that there have been."""
        self._limit = float(most)
        self._inside = 0
        self._line: deque[anyio.Event] = deque()
        self._answers: deque[float] = deque()

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until there is one; it is held inside."""
        await self._acquire()
        try:
            yield
        finally:
            self._inside -= 1
            self._wake()

    def answered(self, seconds: float) -> None:
        """A call was answered within `seconds`."""
        now = anyio.current_time()
        self._answers.append(now)
        self._forget(now)
        if self._limit < self.most and seconds * (self.limit + 1) / self.limit <= self.timeout / 2:
            self._limit = min(self.most, self._limit + 1 / self.limit)
            self._wake()

    def late(self, limit: int) -> bool:
        """A call that began when there were `limit` at once ran out of time. Returns whether it is
        put down to the others: there are to be fewer at once now."""
        self._forget(anyio.current_time())
        fit = max(1, len(self._answers) // 2)
        if fit < self.limit:
            self._limit = float(fit)
            self.lowest = min(self.lowest, fit)
        return self.limit < limit

    def _forget(self, now: float) -> None:
        while self._answers and self._answers[0] < now - self.timeout:
            self._answers.popleft()

    async def _acquire(self) -> None:
        if not self._line and self._inside < self.limit:
            self._inside += 1
            return
        turn = anyio.Event()
        self._line.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it was given a slot, and is cancelled all the same
                self._inside -= 1
                self._wake()
            else:
                self._line.remove(turn)
            raise

    def _wake(self) -> None:
        while self._line and self._inside < self.limit:
            self._inside += 1
            self._line.popleft().set()
