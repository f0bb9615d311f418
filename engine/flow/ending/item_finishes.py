"""The pipeline's finish of each item that has ended: before its end is told, one at a time."""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import anyio

from engine.contract.errors import PenstockError, StopRun, Withdrawn
from engine.ledger.records import Settled
from engine.telemetry.events import Events, ItemUnfinished
from engine.telemetry.text import one_line
from engine.workers.call_thread import CallThread

log = logging.getLogger("penstock.engine")

MOST_DUE = 1000
"""The most items whose finish may be due before more are let in."""

Told = Callable[[Settled | None], None]
"""Tells the end; None: the run gives the item up."""


class ItemFinishes:
    """Runs `finish` with the id of every item that has ended, in the order of the ends, and tells
    each end after it. An item whose finish fails is told as failed; where the run has to stop for
    it, it is given up. Without a `finish` the ends are told at once.

    Used on the event loop; `finish` runs in a thread, and is abandoned there if the run is.
    """

    def __init__(
        self,
        finish: Callable[..., object] | None,
        events: Events,
        stop: Callable[[StopRun], None],
    ) -> None:
        self._finish = finish
        self._events = events
        self._stop = stop
        self._due: deque[tuple[str, Settled, Told]] = deque()
        self._changed = anyio.Event()
        self._thread = CallThread("penstock-finish-item")

    def ended(self, item: str, outcome: Settled, told: Told) -> None:
        """The item has ended, and the ledger has it: have it finished, and then told."""
        if self._finish is None:
            told(outcome)
            return
        self._due.append((item, outcome, told))
        self._change()

    async def take_out(self, item: str) -> None:
        """Have the results show the item no longer: it is about to be taken out. Raises the errors
        of `finish`."""
        if self._finish is not None:
            await self._thread.call(partial(self._finish, item, gone=True))

    async def room(self) -> None:
        """Return when fewer than MOST_DUE are due."""
        while len(self._due) >= MOST_DUE:
            await self._changed.wait()

    async def all_done(self) -> None:
        """Return when every end so far is told."""
        while self._due:
            await self._changed.wait()

    async def run(self) -> None:
        """Finish what is due, until cancelled."""
        try:
            while True:
                while self._due:
                    item, outcome, told = self._due[0]
                    told(await self._finished(item, outcome))
                    self._due.popleft()
                    self._change()
                await self._changed.wait()
        finally:
            self._thread.close()

    async def _finished(self, item: str, outcome: Settled) -> Settled | None:
        assert self._finish is not None
        try:
            await self._thread.call(self._finish, item)
        except StopRun as stop:
            self._stop(stop)
            return None
        except Withdrawn:  # another machine has the item now, and makes its results
            return None
        except Exception as error:
            why = str(error)
            if not isinstance(error, PenstockError):
                why = f"{type(error).__name__}: {error}"
                log.warning("the finish of %s failed", item, exc_info=error)
            self._events.emit(ItemUnfinished(item, one_line(why)))
            return "failed"
        return outcome

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
