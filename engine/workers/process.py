"""A worker that is a process: it survives a stage that crashes, and can kill one that hangs. Its
process runs here, or on a node of a cluster, as its nursery has it."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from engine.contract.errors import Fault, StopRun
from engine.contract.item import Item
from engine.ledger.outputs.drafts import Draft
from engine.telemetry.cores import available_cores
from engine.workers.base import Access, SeparateWorker, StageFactory, StageOpenError
from engine.workers.child import Child, OverdueError, WorkerDiedError
from engine.workers.packing import Packed, unpack
from engine.workers.result import Result

AT_ONCE = 100
"""Items of a list that are read as part of the attempt. The same process reads the rest of a longer
list as the items find room; the worker goes on with another process."""


class Nursery:
    """The processes of one pool: those of its workers and those that read lists.

    They start on half of the cores. To start costs a second of a core, and all at once they would
    keep the first items from the rest of the pipeline for as long as all of them take.
    """

    def __init__(self, factory: StageFactory) -> None:
        self.factory = factory
        self.begun = False
        """Whether a worker has opened, or is about to: the others start with their first item."""
        self._spare: list[Child] = []
        self.all: set[Child] = set()
        self._starting = anyio.Semaphore(max(1, available_cores() // 2))
        # Read here, before stages open: OpenCV, while it is imported, puts a folder into the path
        # whose `typing` would hide Python's own.
        self.path = list(sys.path)

    def access(self) -> Access | None:
        """What one worker waits for before each attempt, if for anything."""
        return None

    async def child(self, access: Access | None = None) -> Child:
        """A process with an open stage, for the worker with this `access`. Raises what
        `Child.start` raises."""
        if self._spare:
            return self._spare.pop()
        async with self._starting:
            if self._spare:  # another one has become free meanwhile
                return self._spare.pop()
            child = await Child.start(self.factory, self.path)
        self.all.add(child)
        return child

    def join(self) -> None:
        """A worker has opened."""

    async def leave(self) -> None:
        """A worker has closed."""

    async def first(self) -> Child | None:
        """The process of the pool's first worker, which shows wrong settings at once; None where
        its first item is to start it. Raises as `child` does."""
        return await self.child()

    @asynccontextmanager
    async def attempting(self, items: Sequence[Item]) -> AsyncGenerator[None, None]:
        """The time of an attempt at the items, in one of the processes."""
        yield

    async def rest(self, child: Child) -> Child | None:
        """The process that a worker keeps until its next attempt, after one in `child`."""
        return child

    async def let_go(self, child: Child, *, spare: bool = False) -> None:
        """Close a process that its user no longer needs; with `spare` keep
        it for another worker."""
        if spare and not child.killed:
            self._spare.append(child)
            return
        self.all.discard(child)
        await child.close()

    async def close(self) -> None:
        """End all processes that are left."""
        self._spare.clear()
        for child in list(self.all):
            await self.let_go(child)


class ProcessWorker(SeparateWorker):
    """A process with an instance of the stage of its own. The first process of a pool starts when
    its worker opens, which shows wrong settings at once; the others start with their first item."""

    def __init__(
        self, factory: StageFactory, timeout: float, nursery: Nursery | None = None
    ) -> None:
        super().__init__(timeout)
        self._nursery = nursery or Nursery(factory)
        self.access = self._nursery.access()
        self._child: Child | None = None

    async def open(self) -> None:
        self._nursery.join()
        if self._nursery.begun:
            return
        self._nursery.begun = True
        try:
            self._child = await self._nursery.first()
        except WorkerDiedError as died:
            raise StageOpenError(self._nursery.factory.name, died) from None

    # The process is there before the draft is opened. A run that is killed while it starts must not
    # find, next time, that it died with the item in hand: nobody was at work on it.

    async def process(self, draft: Draft) -> Result:
        try:
            await self._ready()
        except WorkerDiedError as died:
            return self._crashed(died)
        except StopRun as stop:
            return Result(stop=stop)
        return await super().process(draft)

    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        try:
            with suppress(WorkerDiedError):  # it is started again: then the batch has the error
                await self._ready()
        except StopRun as stop:
            return [Result(stop=stop)] * len(drafts)
        return await super().process_batch(drafts)

    def _crashed(self, died: WorkerDiedError) -> Result:
        self.broken = True
        return Result(ending=Fault(str(died), kind="crashed"))

    async def _attempt(self, draft: Draft, out: Path) -> Result:
        try:
            child = await self._ready()
            async with self._nursery.attempting([draft.item]):
                packed = await self._ask(child, draft, out)
        except WorkerDiedError as died:
            return self._crashed(died)
        except OverdueError as overdue:
            self.broken = True
            return Result(ending=overdue.ending)
        word, value, cost = packed
        if word != "list":
            self._child = await self._nursery.rest(child)
            return unpack(packed)
        self._child = None  # from now on the process reads the list
        produced = _long_list(self._nursery, child, value, self.timeout)
        return Result(produced=produced, processor=cost)

    async def _ask(self, child: Child, draft: Draft, out: Path) -> Packed:
        packed: Packed
        if self._nursery.factory.stage.splits():
            handing = draft.handing
            assert handing is not None
            request = ("split", draft.item, out, handing.standing)
            packed = await child.ask(*request, within=self.timeout, handing=handing)
        else:
            packed = await child.ask("process", draft.item, out, within=self.timeout)
        return packed

    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        try:
            child = await self._ready()
            async with self._nursery.attempting(items):
                reply = await child.ask("process_batch", items, outs, within=self.timeout)
        except WorkerDiedError:
            self.broken = True
            raise
        except OverdueError as overdue:
            self.broken = True
            raise TimeoutError(f"gave up the batch after {self.timeout:g} seconds") from overdue
        self._child = await self._nursery.rest(child)
        if isinstance(reply, tuple):  # an error of the whole batch
            whole = unpack(reply)
            raise whole.stop or whole.ending or WorkerDiedError("it ended with no reason")
        return [unpack(one) for one in reply]

    async def _ready(self) -> Child:
        if self._child is None:
            self._child = await self._nursery.child(self.access)
        return self._child

    def cut_short(self) -> None:
        if self._child is not None:
            self._child.kill()

    async def close(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            await self._nursery.let_go(child)
        await self._nursery.leave()


async def _long_list(
    nursery: Nursery, child: Child, first: list[Item], within: float
) -> AsyncGenerator[Item, None]:
    """The items of a list one by one: `first`, then those that its process goes on to read. Raises
    the errors of reading them."""
    try:
        for item in first:
            yield item
        while (items := await _more(child, within)) is not None:
            for item in items:
                yield item
    except BaseException:
        child.kill()
        raise
    await nursery.let_go(child, spare=True)


async def _more(child: Child, within: float) -> list[Item] | None:
    try:
        packed: Packed = await child.ask("next", within=within)
    except WorkerDiedError as died:
        raise Fault(str(died), kind="crashed") from None
    except OverdueError as overdue:
        raise overdue.ending from None
    result = unpack(packed)
    if result.stop is not None:
        raise result.stop
    if result.ending is not None:
        raise result.ending
    return None if packed[0] == "done" else packed[1]
