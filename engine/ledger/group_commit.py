"""The async way into the ledger: concurrent requests of several tasks become one transaction."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

import anyio

from engine.ledger.bell import bell
from engine.ledger.errors import explained, is_explained
from engine.ledger.records import AttemptRow, Change
from engine.ledger.writer import Ledger

T = TypeVar("T")

LINGER = 0.01
"""Seconds that requests gather before they are written, if nobody waits for one."""

BACKLOG = 200
"""Requests that may gather before `room` waits."""


class _Request:
    def __init__(
        self,
        work: Callable[[Ledger], object],
        committed: asyncio.Future[None] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.work = work
        self.committed = committed
        self.then = then
        self.value: object = None
        self.error: Exception | None = None


class GroupCommit:
    """Runs functions on the ledger, in a thread of its own, in the order in which they were given.

    While one transaction is being written the requests of other tasks gather, and the next
    transaction takes them all. `do` waits for its own request; `note` does not: its request is
    written within LINGER, sooner if somebody waits for another.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._gathering: deque[_Request] = deque()
        self._stirred = threading.Event()
        self._urgent = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._bell = bell()
        self._failure: Exception | None = None
        self._failed = anyio.Event()

    async def do(self, work: Callable[[Ledger], T]) -> T:
        """Run `work` on the ledger and return its result, once both are committed.

        Raises the error of `work`; then nothing of it was written. If the waiting task is
        cancelled, the work is still done. `work` may run twice: the first run is then rolled back.
        """
        request = _Request(work, asyncio.get_running_loop().create_future())
        self._add(request)
        self._urgent.set()
        assert request.committed is not None
        await request.committed
        if request.error is not None:
            raise request.error
        return cast(T, request.value)

    async def apply(self, change: Change, run: int, row: AttemptRow) -> None:
        """Have a change recorded, and with it how the attempt ended that brought it about.

        Returns once it is committed; where the folder of an output says it too, as soon as not too
        much waits to be written.
        """

        def work(ledger: Ledger) -> None:
            ledger.end_attempt(row)
            ledger.apply(change, run)

        if change.stands_in_a_folder:
            await self.room()
            self.note(work)
        else:
            await self.do(work)

    def note(self, work: Callable[[Ledger], object]) -> None:
        """Have `work` run on the ledger soon, without waiting. `watch` raises its errors."""
        self._add(_Request(work))

    def after(self, then: Callable[[], None]) -> None:
        """Have `then` called on the event loop as soon as every request so far is committed; never,
        if one of those that nobody waits for fails. `watch` raises its errors."""
        self._add(_Request(_nothing, then=then))

    async def room(self) -> None:
        """Return when fewer than BACKLOG requests wait: until then the caller is held back."""
        if len(self._gathering) >= BACKLOG:
            await self.flush()

    async def flush(self) -> None:
        """Return when every request so far is written."""
        await self.do(_nothing)

    async def watch(self) -> None:
        """Wait for the error of a request that nobody waits for, and raise it."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def close(self) -> None:
        """Write the requests that have gathered, and end the thread."""
        self._closing = True
        self._stirred.set()
        self._urgent.set()
        if self._thread is not None:
            self._thread.join()

    def _add(self, request: _Request) -> None:
        self._gathering.append(request)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="penstock-ledger", daemon=True)
            self._thread.start()
        if not self._stirred.is_set():  # cleared before the requests are taken, so none is missed
            self._stirred.set()

    def _run(self) -> None:
        while not self._closing or self._gathering:
            self._stirred.wait()
            self._urgent.wait(LINGER)
            self._stirred.clear()
            self._urgent.clear()
            batch = [self._gathering.popleft() for _ in range(len(self._gathering))]
            if batch:
                self._write(batch)
                self._bell.ring(partial(self._answer, batch))

    def _write(self, batch: list[_Request]) -> None:
        """One transaction for all; if one of them fails, a transaction for each."""
        try:
            self.ledger.begin()
            for request in batch:
                request.value = request.work(self.ledger)
            self.ledger.commit()
        except Exception as error:
            with suppress(sqlite3.Error):  # nothing was written if there is nothing to roll back
                self.ledger.rollback()
            if len(batch) > 1 and not isinstance(error, sqlite3.Error):
                for request in batch:
                    self._write([request])
                return
            for request in batch:
                request.error = _explained(error, self.ledger)

    def _answer(self, batch: list[_Request]) -> None:
        for request in batch:
            if request.committed is None:
                self._failure = self._failure or request.error
            elif not request.committed.done():  # not so if the waiting task was cancelled
                request.committed.set_result(None)
            if request.then is not None and self._failure is None:
                try:
                    request.then()
                except Exception as error:  # the others of the batch are to have their answers
                    self._failure = error
        if self._failure is not None:
            self._failed.set()


def _nothing(ledger: Ledger) -> None:
    """The work of a request that only marks a place among the others."""


def _explained(error: Exception, ledger: Ledger) -> Exception:
    """A ledger that cannot be written is no bug: the disk is full, or another program holds it."""
    if isinstance(error, sqlite3.Error) and is_explained(error):
        return explained(error, ledger.path)
    return error
