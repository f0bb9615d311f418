"""Old items leave the work folder of a resident run while it goes on."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

from engine.contract.errors import PenstockError, StopRun
from engine.contract.item import Item
from engine.flow.ending.item_finishes import ItemFinishes
from engine.ledger.forgetting import read_old_items
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.taking_out import bytes_in, clear_aside, set_aside
from engine.ledger.writer import Ledger
from engine.telemetry.events import Events, Pruned

log = logging.getLogger("penstock.engine")

LOOKS = 20
"""How often within its time to live an item is looked at."""

SELDOM, OFTEN = 3600.0, 0.05
"""Seconds between two looks, at most and at least."""


class Pruning:
    """Takes out items that have ended, and that nobody has asked for, for `ttl` seconds: their
    results where the pipeline makes those of each item, their folders, their rows. The pipeline's
    sinks keep what they have of them.

    What is asked for again stays: that, and taking an item out, are each one step of the ledger's
    thread. Killed at any moment, an item is known still, or its outputs are gone and it is made
    anew where it comes again.
    """

    def __init__(
        self,
        workdir: Path,
        ttl: float,
        commit: GroupCommit,
        finishes: ItemFinishes,
        events: Events,
        stop: Callable[[StopRun], None],
    ) -> None:
        self._workdir = workdir
        self._ttl = ttl
        self._commit = commit
        self._finishes = finishes
        self._events = events
        self._stop = stop

    async def keep(self) -> None:
        """Look again and again, until cancelled. A full disk stops the run."""
        while True:
            await anyio.sleep(min(max(self._ttl / LOOKS, OFTEN), SELDOM))
            try:
                await self._prune()
            except StopRun as stop:
                self._stop(stop)
                return
            except (PenstockError, OSError) as error:
                log.warning("old items stay for now: %s", error)

    async def _prune(self) -> None:
        before = time.time() - self._ttl
        items = size = 0
        for item in await to_thread.run_sync(read_old_items, self._workdir, before):
            if not await self._left_results(item):
                continue
            folder = Item.at(self._workdir, item, item).folder
            counted = await to_thread.run_sync(bytes_in, folder)
            if await self._commit.do(self._taking_out(item, folder, before)):
                items, size = items + 1, size + counted
            await to_thread.run_sync(clear_aside, self._workdir, item)
        if items:
            self._events.emit(Pruned(items, size))

    async def _left_results(self, item: str) -> bool:
        """Take the item out of the results; false where that fails, which is said, and tried again
        with the next look."""
        try:
            await self._finishes.take_out(item)
        except StopRun:
            raise
        except Exception as error:
            told = None if isinstance(error, PenstockError) else error
            log.warning("%s stays for now: %s", item, error, exc_info=told)
            return False
        return True

    def _taking_out(self, item: str, folder: Path, before: float) -> Callable[[Ledger], bool]:
        def take_out(ledger: Ledger) -> bool:
            if not ledger.forgetting.is_old(item, before):
                return False  # somebody has asked for it meanwhile
            set_aside(self._workdir, folder)
            ledger.forgetting.forget(item)
            return True

        return take_out
