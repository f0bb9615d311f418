"""The number of calls in flight: lowered while a server cannot answer them in time."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class TimeInside:
    """The seconds in which at least one call was inside of the block."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._inside = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if not self._inside:
            self._since = anyio.current_time()
        self._inside += 1

    def __exit__(self, *error: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._seconds += anyio.current_time() - self._since

    @property
    def seconds(self) -> float:
        running = anyio.current_time() - self._since if self._inside else 0.0
        return self._seconds + running


class Slots:
    """At most `most` calls in flight, first come, first served; fewer after time-outs.

    A server that works on one question at a time answers the others late, when nobody waits for
    them any more: the work is lost, and asking again makes it worse. By Little's law a server that
    answered n calls within the last `timeout` seconds keeps n calls in flight busy for just that
    long; with half as many each is answered in half the time. So a time-out lowers the limit to n /
    2. The limit rises again once answers come so quickly that with one more call they would still
    take at most half of the timeout.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self.most = most
        self.timeout = timeout
        self.lowest = most
        """The lowest limit so far."""
        self._limit = float(most)
        self._inside = 0
        self._line: deque[anyio.Event] = deque()
        self._answers: deque[float] = deque()
        self.waiting = TimeInside()
        """How long calls waited in line."""

    def tighten(self, most: int, timeout: float) -> None:
        """At most `most` from now on; `timeout` where that is longer."""
        self.most = min(self.most, most)
        self.lowest = min(self.lowest, most)
        self._limit = min(self._limit, float(most))
        self.timeout = max(self.timeout, timeout)

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a free slot, and holds it in the block."""
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
        """A call that began when the limit was `limit` ran out of time. Returns whether too many
        calls at once are to blame: then the limit is lower now."""
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
            with self.waiting:
                await turn.wait()
        except BaseException:
            if turn.is_set():  # it got a slot and was cancelled at the same time
                self._inside -= 1
                self._wake()
            else:
                self._line.remove(turn)
            raise

    def _wake(self) -> None:
        while self._line and self._inside < self.limit:
            self._inside += 1
            self._line.popleft().set()
