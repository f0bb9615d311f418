"""Shares the processor: one thread for each job in hand, and further ones while cores are idle.

With many videos at once, one thread each costs least. With one long video that leaves cores idle.
So all workers of a process share one `Cores`, which counts the threads at work. A worker always has
its own thread. It may borrow idle cores for each part of its job, so a borrowed core is returned
soon after another worker has something to do.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import Generic, TypeVar, cast

from engine import available_cores

MOST_FOR_ONE = 16
"""The most threads of one job by default: each takes memory of its own."""

Part = TypeVar("Part")
Result = TypeVar("Result")


class Cores:
    """Counts the threads at work against the number of cores. Thread-safe."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> int:
        """Threads at work; more than `total` where there are more workers than cores."""
        return self._busy

    @property
    def crowded(self) -> bool:
        """There are more threads than cores: borrowed ones should be given back."""
        return self._busy > self.total

    def take(self) -> None:
        """Count one more thread, with or without an idle core."""
        with self._lock:
            self._busy += 1

    def borrow(self) -> bool:
        """Count one more thread if there is an idle core for it; returns whether there was."""
        with self._lock:
            if self._busy >= self.total:
                return False
            self._busy += 1
            return True

    def give_back(self) -> None:
        """Stop counting a thread that `take` or `borrow` counted."""
        with self._lock:
            self._busy -= 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count the calling thread during the block."""
        self.take()
        try:
            yield
        finally:
            self.give_back()

    @contextmanager
    def borrowed(self, most: int) -> Iterator[int]:
        """Borrow the idle cores, `most` at most, during the block; yields their number."""
        count = 0
        try:
            while count < most and self.borrow():
                count += 1
            yield count
        finally:
            for _ in range(count):
                self.give_back()


PROCESS_CORES = Cores(available_cores())
"""The cores of this process, for all stages in it that share out their work."""


def share_out(
    parts: Sequence[Part],
    begin: Callable[[], AbstractContextManager[Callable[[Part], Result]]],
    cores: Cores,
    threads: int | None = None,
) -> list[Result]:
    """The result of each part, in order. The calling thread works; others help.

    `begin` is entered once in every thread and gives the function that does a part; a thread takes
    parts in ascending order. With `threads`, at most that many work, from the start. With None
    there are as many as `cores` has idle, up to MOST_FOR_ONE, and borrowed ones leave after the
    part in hand when there are more threads than cores. The caller counts its own thread.

    Raises the first error of any thread, once all have ended: the others finish the part in hand.
    They run in copies of the caller's context, so that `engine.checkpoint` stops them too.
    """
    team = _Team(parts, begin, cores, threads)
    try:
        team.work(team.hire)
    except BaseException as error:
        team.fail(error)
    return team.results()


class _Team(Generic[Part, Result]):
    def __init__(
        self,
        parts: Sequence[Part],
        begin: Callable[[], AbstractContextManager[Callable[[Part], Result]]],
        cores: Cores,
        threads: int | None,
    ) -> None:
        self._parts = parts
        self._begin = begin
        self._cores = cores
        self._threads = threads
        self._lock = threading.Lock()
        self._next = 0
        self._done: list[Result | None] = [None] * len(parts)
        self._error: BaseException | None = None
        self._helpers: list[threading.Thread] = []

    def work(self, between: Callable[[], bool], first: int | None = None) -> None:
        """Do one part after the other while there are any and `between` agrees."""
        with self._begin() as do:
            index = first
            while index is not None or between():
                index = self._take() if index is None else index
                if index is None:
                    return
                self._done[index] = do(self._parts[index])
                index = None

    def hire(self) -> bool:
        """Start as many helpers as may be and have something to do. Returns True."""
        self._helpers = [thread for thread in self._helpers if thread.is_alive()]
        while self._next < len(self._parts) - 1 and self._may_hire():
            first = self._take()
            if first is None:
                self._cores.give_back()
                break
            # A daemon, as the engine's own: one that hangs must not keep the process from ending.
            helper = threading.Thread(
                target=copy_context().run, args=(self._help, first), daemon=True
            )
            helper.start()
            self._helpers.append(helper)
        return True

    def _may_hire(self) -> bool:
        working = len(self._helpers) + 1
        if self._threads is None:
            return working < MOST_FOR_ONE and self._cores.borrow()
        if working < self._threads:
            self._cores.take()
            return True
        return False

    def _help(self, first: int) -> None:
        try:
            self.work(lambda: self._threads is not None or not self._cores.crowded, first)
        except BaseException as error:  # raised again in the caller's thread
            self.fail(error)
        finally:
            self._cores.give_back()

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= len(self._parts):
                return None
            self._next += 1
            return self._next - 1

    def fail(self, error: BaseException) -> None:
        """No part is begun after this."""
        with self._lock:
            self._error = self._error or error
            self._next = len(self._parts)

    def results(self) -> list[Result]:
        """Wait for the helpers; what came of the parts, or the first error."""
        for helper in self._helpers:
            helper.join()
        if self._error is not None:
            raise self._error
        return cast(list[Result], self._done)
