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
from engine.workers.base import StageFactory
from engine.workers.child import Child, WorkerDiedError
from engine.workers.import_path import importable
from engine.workers.process import Nursery
from engine.workers.transport import Transport

AT_START = 1.0
"""Seconds that a pool waits for room when it starts, to show wrong settings at once."""


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
            child = await self._found(AT_START)
            if child is not None:
                await self._seats.rest(child)

    async def child(self) -> Child:
        lost, told = 0, ""
        while lost < STARTS:
            try:
                child = await self._found()
            except NodeLostError as error:  # there was no item in hand: it costs no attempt
                lost, told = lost + 1, str(error)
            else:
                if child is not None:
                    return child
        raise StopRun(
            f"worker processes of step {self.factory.name!r} do not start on the cluster: {told}; "
            "see Ray's logs on the nodes, and run again"
        )

    async def _found(self, patience: float = math.inf) -> Child | None:
        """A process for an attempt; None after `patience` seconds without room, and where one that
        was idle went meanwhile."""
        child = self._seats.resume()
        if child is None:
            place = await self._seats.room(patience)
            if place is not None:
                return await self._started(place)
            child = self._seats.resume()
        if child is not None and not await child.is_alive():
            await self.let_go(child)
            return None
        return child

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


def _for_each(act: Callable[[Item, str], None], items: Sequence[Item], step: str) -> None:
    for item in items:
        act(item, step)
