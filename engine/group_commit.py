"""The async way into the ledger: what several tasks ask for at once is one transaction."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import anyio

from engine.call_thread import CallThread
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
            self.journal.rollback()
            for request in batch:
                request.error = error
        for request in batch:
            request.ended = True

    def close(self) -> None:
        self._thread.close()
