"""A time limit for many attempts that one task makes one after the other."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import anyio


class TimeLimit:
    """`with limit:` leaves its block after `seconds`, as `anyio.move_on_after` would; `expired`
    then says so.

    Short attempts have to be cheap, so the cancel scope and the timer outlive the block: `open`
    enters the scope and `close` leaves it, around all attempts in one task; and a timer that fires
    may find that its own block has long ended.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = math.inf
        self._inside = self._is_cut_short = False
        self._scope: anyio.CancelScope | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.expired = False

    def open(self) -> None:
        self._scope = anyio.CancelScope()
        self._scope.__enter__()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._scope is not None:
            self._scope.__exit__(None, None, None)
            self._scope = None

    def __enter__(self) -> None:
        self.expired = False
        self._inside, self._is_cut_short = True, False
        self._due = self._loop.time() + self._seconds
        if self._timer is None:
            self._set_timer()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._due = math.inf
        self._inside = False
        assert self._scope is not None
        if not self._scope.cancel_called:
            return False
        swallowed = self._scope.__exit__(kind, error, trace)
        self.open()
        self.expired = kind is not None and bool(swallowed)
        return self.expired

    def cut_short(self) -> None:
        """End the block that is under way, if there is one, as if its time were over; where its
        time does not count, once it does again."""
        self._is_cut_short = self._inside
        if self._due < math.inf:
            assert self._scope is not None
            self._scope.cancel()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time of this block, inside a `with limit:`, does not count. Only one at a time."""
        left = self._due - self._loop.time()
        self._due = math.inf
        try:
            yield
        finally:
            self._due = self._loop.time() + (0 if self._is_cut_short else left)
            if self._is_cut_short and self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._set_timer()

    def _set_timer(self) -> None:
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._due <= self._loop.time():
            assert self._scope is not None
            self._scope.cancel()
        elif self._due < math.inf:
            self._set_timer()
