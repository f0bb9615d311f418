"""How items come into the inboxes of the stages that they enter, and out again unbegun."""

from collections.abc import Mapping, Sequence

import anyio

from engine.flow.attempt import Entry
from engine.flow.inbox import Inlet
from engine.flow.journey import Journey


class Offering:
    """The inlets of all pools. An item is offered to the stages after one side by side, so that a
    full inbox keeps it from no other; what is withdrawn is taken out wherever it waits."""

    def __init__(self, inlets: Mapping[str, Inlet[Entry]]) -> None:
        """`inlets` are the pools', by step."""
        self._inlets = inlets
        self._waiting: dict[tuple[str, str], anyio.CancelScope] = {}
        """Who waits for room, by item and stage."""

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
        """Take the item out before these stages, which its journey does not go to any more.

        One that a worker takes at this very moment is put down by the pool before it is begun.
        """
        for stage in stages:
            scope = self._waiting.get((journey.item.id, stage))
            if scope is not None:
                scope.cancel()
            self._inlets[stage].withdraw(lambda entry: entry.journey is journey)

    def drain(self) -> None:
        """Let nothing in or out any more."""
        for inlet in self._inlets.values():
            inlet.drain()

    def close(self) -> None:
        """Nothing more will come."""
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
