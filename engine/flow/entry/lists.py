"""Feeds the items that lists produce: those that a stage reads now, and those that an earlier run
has read."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.contract.errors import Withdrawn
from engine.contract.item import Item
from engine.contract.job import Job
from engine.contract.pipeline import Pipeline
from engine.flow.entry.job_items import item_of
from engine.flow.journey import Journey
from engine.ledger.group_commit import GroupCommit
from engine.sources.reading import Feed, as_item
from engine.workers.base import UNWANTED
from engine.workers.result import Items

Admit = Callable[[Item, str | None, int], Awaitable[None]]
"""Has an item enter the run, produced by the list of this id, nested in this many lists."""


class Lists:
    """The lists of a run. `admit` is called for every item, when its turn has come and there is
    room."""

    def __init__(
        self, pipeline: Pipeline, workdir: Path, commit: GroupCommit, reading: Feed, admit: Admit
    ) -> None:
        self._pipeline = pipeline
        self._workdir = workdir
        self._commit = commit
        self._reading = reading
        self._admit = admit

    async def expand(self, journey: Journey, produced: Items) -> int:
        """Feed the items that this one produced; returns their number. Raises Withdrawn where it is
        given up meanwhile: a later run has to read it again."""
        parent, depth = journey.item.id, journey.depth + 1

        async def admit(value: object) -> None:
            if journey.is_given_up:
                raise Withdrawn(UNWANTED)
            await self._admit(as_item(value), parent, depth)

        return await self._reading.feed(produced, admit, depth, parent)

    async def feed_known(self, journey: Journey) -> None:
        """Feed the items of a list that an earlier run read to its end, from the ledger."""
        parent, depth = journey.item.id, journey.depth + 1
        children = await self._commit.do(lambda ledger: ledger.children(parent))

        async def admit(job: Job) -> None:
            if not journey.is_given_up:
                await self._admit(item_of(self._pipeline, self._workdir, job), parent, depth)

        await self._reading.feed(children, admit, depth, parent)
