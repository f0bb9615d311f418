"""The processes of one pool on the nodes of a cluster: `placement = "ray"`."""

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio import to_thread

from engine.cluster.cluster import RayCluster
from engine.cluster.seats import Seats
from engine.contract.errors import StopRun
from engine.contract.item import Item
from engine.ledger.outputs.folders import mark_outlived, unmark_outlived
from engine.workers.base import Access, StageFactory
from engine.workers.child import Child, WorkerDiedError
from engine.workers.import_path import importable
from engine.workers.process import Nursery
from engine.workers.transport import Transport

AT_START = 1.0
"""Seconds that a pool waits for room when it starts, to show wrong settings at once."""


FRESH = 1.0
"""Seconds without work after which a process is asked whether it is still there: that is a message
more. One that dies sooner costs its next item an attempt, as a process on this machine does."""

STARTS = 5
"""Processes in a row that may be lost with their nodes while they start."""


class NodeLostError(WorkerDiedError):
    """A node was lost, or its actor, while a worker process started there."""


class RemoteNursery(Nursery):
    """The processes of one pool, each in a place of the cluster. Between two attempts a process
    belongs to no worker: the next one that has an item takes it, or another step gets its place."""

    def __init__(
        self, factory: StageFactory, cluster: RayCluster, resources: Mapping[str, float]
    ) -> None:
        """`resources` are those of one worker."""
        super().__init__(factory)
        self._seats = Seats[Child](cluster, factory.name, resources, self.let_go)
        self._workers = 0

    def join(self) -> None:
        self._workers += 1

    async def leave(self) -> None:
        self._workers -= 1
        if self._seats.places > self._workers:
            await self._seats.give_up()

    async def first(self) -> None:
        importable(self.factory.stage)  # before there is a place to give back
        await self._seats.check()
        with suppress(NodeLostError):  # the first item finds another node
            found = await self._look(AT_START)
            if found is not None:
                await self._seats.rest(await self._started(found))

    def access(self) -> "Seat":
        return Seat(self)

    async def child(self, access: Access | None = None) -> Child:
        found = access.taken() if isinstance(access, Seat) else None
        return found or await self.found()

    def found_nowait(self) -> Child | None:
        """A process that was at work just now; None where there is none."""
        return self._seats.resume() if self._seats.idle_for < FRESH else None

    async def found(self) -> Child:
        """A process for an attempt, where need be a new one in a place of its own. Raises StopRun
        as `Seats.room` does, and what `Child.start` raises."""
        lost, told = 0, ""
        while lost < STARTS:
            found = await self._look()
            if isinstance(found, Child):
                return found
            try:
                if found is not None:
                    return await self._started(found)
            except NodeLostError as error:
                lost, told = lost + 1, str(error)
        raise StopRun(
            f"worker processes of step {self.factory.name!r} do not start on the cluster: {told}; "
            "see Ray's logs on the nodes, and run again"
        )

    async def _look(self, patience: float = math.inf) -> Any | None:
        """A process, or a place for one; None after `patience` seconds without room, and where a
        process that was idle went meanwhile."""
        if self._seats.idle_for == math.inf:
            place = await self._seats.room(patience)
            if place is not None:
                return place
        is_fresh = self._seats.idle_for < FRESH
        child = self._seats.resume()
        if child is not None and not is_fresh and not await child.is_alive():
            await self.let_go(child)
            return None
        return child

    def give_back(self, child: Child) -> None:
        """A process was not needed."""
        self._seats.put_back(child)

    async def _started(self, place: Any) -> Child:
        async def launch(factory: StageFactory, path: Sequence[str]) -> Transport:
            try:
                return await self._seats.start(place, path)
            except anyio.EndOfStream as lost:
                raise NodeLostError(str(lost)) from None

        child = await Child.start(self.factory, self.path, launch)
        self.all.add(child)
        return child

    @asynccontextmanager
    async def attempting(self, items: Sequence[Item]) -> AsyncGenerator[None, None]:
        """What dies on another machine does not kill the run. So the items carry the mark of that
        from the start: when the run is killed, its processes may have no time to leave it."""
        step = self.factory.name
        await to_thread.run_sync(_for_each, mark_outlived, items, step)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_for_each, unmark_outlived, items, step)

    async def rest(self, child: Child) -> None:
        await self._seats.rest(child)

    async def let_go(self, child: Child, *, spare: bool = False) -> None:
        if spare and not child.killed:
            await self._seats.rest(child)
            return
        self._seats.forget(child)
        await super().let_go(child)


class Seat:
    """One worker's `Access` to the processes of its step, in their places. What it has found is for
    the attempt that follows, and given back where none does."""

    def __init__(self, nursery: RemoteNursery) -> None:
        self._nursery = nursery
        self._found: Child | None = None
        self._error: StopRun | WorkerDiedError | None = None

    def enter_nowait(self) -> bool:
        self._found = self._nursery.found_nowait()
        return self._found is not None

    async def enter(self) -> None:
        try:
            self._found = await self._nursery.found()
        except (StopRun, WorkerDiedError) as error:  # told as the end of the attempt
            self._error = error

    def leave(self) -> None:
        found, self._found = self._found, None
        if found is not None:
            self._nursery.give_back(found)

    def taken(self) -> Child | None:
        """What was found, for the attempt; None where the worker has not entered. Raises what kept
        it from being found."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        found, self._found = self._found, None
        return found


def _for_each(act: Callable[[Item, str], None], items: Sequence[Item], step: str) -> None:
    for item in items:
        act(item, step)
