"""Puts items into the inboxes of the stages that they enter, and takes unbegun ones out again."""

from collections.abc import Mapping, Sequence

import anyio

from engine.flow.attempt import Entry
from engine.flow.inbox import Inlet
from engine.flow.journey import Journey


class Offering:
    """The inlets of all pools. An item is offered to its next stages at the same time, so a full
    inbox keeps it from no other stage; a withdrawn item is taken out wherever it waits."""

    def __init__(self, inlets: Mapping[str, Inlet[Entry]]) -> None:
        """`inlets` are the pools', by step."""
        self._inlets = inlets
        self._waiting: dict[tuple[str, str], anyio.CancelScope] = {}
        """The offers that wait for room, by item and stage."""

    async def offer(self, journey: Journey, stages: Sequence[str]) -> None:
        """Return once the item is in the inboxes of all of these stages, or withdrawn from them."""
        full = [name for name in stages if not self._inlets[name].put_nowait(Entry(journey))]
        if len(full) == 1:
            await self._wait(journey, full[0])
        elif full:
            async with anyio.create_task_group() as tasks:
                for name in full:
                    tasks.start_soon(self._wait, journey, name)

    async def put(self, stage: str, entry: Entry) -> None:
        """Put one entry in, once there is room."""
        await self._inlets[stage].put(entry)

    def withdraw(self, journey: Journey, stages: Sequence[str]) -> None:
        """Take the item out of the inboxes of these stages, which its journey does not reach any
        more.

        If a worker takes it at this moment, the pool puts it down before the attempt begins.
        """
        for stage in stages:
            scope = self._waiting.get((journey.item.id, stage))
            if scope is not None:
                scope.cancel()
            self._inlets[stage].withdraw(lambda entry: entry.journey is journey)

    def drain(self) -> None:
        """Stop all entries: none goes in or out any more."""
        for inlet in self._inlets.values():
            inlet.drain()

    def close(self) -> None:
        """No more items will come."""
        for inlet in self._inlets.values():
            inlet.close()

    async def _wait(self, journey: Journey, stage: str) -> None:
        if not journey.goes_to(stage):
            return
        key = (journey.item.id, stage)
        with anyio.CancelScope() as scope:
            self._waiting[key] = scope
            try:
                await self._inlets[stage].put(Entry(journey))
            finally:
                del self._waiting[key]
