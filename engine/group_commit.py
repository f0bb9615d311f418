"""The async way into the ledger: what several tasks ask for at once is one transaction."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import anyio

from engine.call_thread import CallThread
from engine.errors import StopRun
from engine.journal import Journal

T = TypeVar("T")


class _Request:
    def __init__(self, work: Callable[[Journal], Any]) -> None:
        self.work = work
        self.value: Any = None
        self.error: Exception | None = None
        self.ended = False


class GroupCommit:
    """Runs functions on the journal in a thread of its own; each returns once it is committed.

    While one transaction is being written the requests of other tasks gather, and the next
    transaction takes them all. They are applied in the order in which they were made.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._thread = CallThread("penstock-journal")
        self._gathering: list[_Request] = []
        self._turn = anyio.Lock()

    async def do(self, work: Callable[[Journal], T]) -> T:
        """Run `work` on the journal and return its result, once both are committed.

        Raises what the transaction raised; then nothing of it was written. If the waiting task is
        cancelled, the work may or may not be done.
        """
        request = _Request(work)
        self._gathering.append(request)
        async with self._turn:
            if not request.ended:
                batch, self._gathering = self._gathering, []
                with anyio.CancelScope(shield=True):
                    await self._thread.call(self._write, batch)
        if request.error is not None:
            raise request.error
        return cast(T, request.value)

    def _write(self, batch: list[_Request]) -> None:
        try:
            self.journal.begin()
            for request in batch:
                request.value = request.work(self.journal)
            self.journal.commit()
        except Exception as error:
            for request in batch:
                request.error = _explained(error, self.journal)
            with suppress(sqlite3.Error):  # what cannot be rolled back was never written
                self.journal.rollback()
        finally:
            for request in batch:
                request.ended = True

    def close(self) -> None:
        self._thread.close()


def _explained(error: Exception, journal: Journal) -> Exception:
    """A ledger that cannot be written is no bug: the disk is full, or another program holds it."""
    if not isinstance(error, sqlite3.OperationalError):
        return error
    return StopRun(
        f"the ledger {journal.path} cannot be written ({error}); see to it and run again"
    )
