"""The workers of a pool: hired, opened, replaced when they break, let go
when there are too many."""

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from engine.cluster.cluster import RayCluster
from engine.contract.errors import PenstockError
from engine.contract.stage import StageOptions
from engine.telemetry.events import Events, StepOpened, WorkerReplaced
from engine.telemetry.meter import Meter
from engine.workers.base import StageFactory, StageOpenError, Worker
from engine.workers.loop import LoopWorker, SharedStage
from engine.workers.process import Nursery, ProcessWorker
from engine.workers.remote import RemoteNursery
from engine.workers.thread import ThreadWorker

log = logging.getLogger("penstock.engine")

Serve = Callable[[Worker, int], Awaitable[bool]]
"""Waits for the next items and works on them; false once no more can come."""


class Team:
    """Any number of workers of one stage, each in a task of its own that calls `serve` again and
    again. Each worker has a number; the team never uses a number twice."""

    def __init__(
        self,
        factory: StageFactory,
        options: StageOptions,
        events: Events,
        serve: Serve,
        release: Callable[[int], None],
        cluster: RayCluster | None = None,
    ) -> None:
        """`release(count)` has at most `count` idle workers return from `serve`. `cluster` is where
        a step with `placement = "ray"` works."""
        self._factory = factory
        self._options = options
        self._events = events
        self._serve = serve
        self._release = release
        self._shared = SharedStage(factory()) if factory.stage.is_async() else None
        self._name = factory.name
        self._nursery = Nursery(factory)
        if options.placement == "ray":
            assert cluster is not None
            self._nursery = RemoteNursery(factory, cluster, options.resources)
        self._apart: ProcessWorker | None = None
        self._target = 0
        self._hired = 0
        self._count = 0
        self._has_opened = False
        self._is_draining = False
        self._open: set[Worker] = set()
        self._tasks: TaskGroup | None = None
        self.alive = Meter()

    def __len__(self) -> int:
        """Number of workers, without those let go; after the end, the last number."""
        return self._count

    def bound(self) -> str | None:
        """The stage's own statement of its limit, where one instance serves
        all workers; else None."""
        return self._shared.stage.bound() if self._shared is not None else None

    def drain(self) -> None:
        """Tell every instance here that the run takes nothing new."""
        self._is_draining = True
        if self._shared is not None:
            self._shared.drain()
        for worker in self._open:
            worker.drain()

    async def run(self, workers: int) -> None:
        """Keep `workers` workers at work until `serve` returns false for each. Raises what a
        stage's `open` raises: a PenstockError as it is, anything else as StageOpenError."""
        if self._shared is not None:
            await self._shared.open()
        try:
            async with anyio.create_task_group() as self._tasks:
                self.resize(workers)
            self._tasks = None
        finally:
            if self._shared is not None:
                await self._shared.close()

    async def apart(self, worker: Worker) -> Worker:
        """A worker in a process, for an item that may kill its process. Returns `worker` itself if
        it is not a thread, or if the stage cannot run in a process."""
        if not isinstance(worker, ThreadWorker):
            return worker
        if self._factory.stage.__module__ == "__main__":
            return worker  # importing a script in a process may run the whole script again
        if self._apart is not None and not self._apart.broken:
            return self._apart
        if self._apart is not None:
            await self._apart.close()
        self._apart = ProcessWorker(self._factory, self._options.timeout, self._nursery)
        try:
            await self._apart.open()
        except Exception as error:  # no importable module, or no room for a second
            log.info("stage %s cannot run in a process: %s", self._name, error)
            self._nursery.begun, self._apart = False, None
            return worker
        return self._apart

    async def close(self) -> None:
        """End the processes that are left, once none of them reads a list any more."""
        if self._apart is not None:
            await self._apart.close()
        await self._nursery.close()

    def resize(self, workers: int) -> None:
        """Hire workers, or let them go: idle ones at once, busy ones when they have finished."""
        self._target = workers
        while self._tasks is not None and self._count < workers:
            self._hired += 1
            self._count += 1
            self._tasks.start_soon(self._work, self._hired, name=f"{self._name} {self._hired}")
        if self._count > workers:
            self._release(self._count - workers)

    def _one_goes(self) -> bool:
        """Whether there is a worker too many. If so it stops counting now,
        however long it takes to go."""
        if self._count <= self._target:
            return False
        self._count -= 1
        return True

    async def _work(self, number: int) -> None:
        worker = await self._opened(number)
        try:
            with self.alive:
                while not self._one_goes() and await self._serve(worker, number):
                    if worker.broken:
                        self._open.discard(worker)
                        await worker.close()
                        self._events.emit(WorkerReplaced(self._name, number, "it died or hung"))
                        worker = await self._opened(number)
        finally:
            self._open.discard(worker)
            await worker.close()

    async def _opened(self, number: int) -> Worker:
        worker = self._make(number)
        try:
            await worker.open()
        except BaseException as error:
            await worker.close()
            if isinstance(error, PenstockError) or not isinstance(error, Exception):
                raise
            raise StageOpenError(self._name, error) from error
        self._open.add(worker)
        if self._is_draining:
            worker.drain()
        if not self._has_opened:
            self._has_opened = True
            self._events.emit(StepOpened(self._name))
        return worker

    def _make(self, number: int) -> Worker:
        timeout = self._options.timeout
        if self._shared is not None:
            return LoopWorker(self._shared.stage, timeout)
        if self._options.placement in ("process", "ray"):
            return ProcessWorker(self._factory, timeout, self._nursery)
        return ThreadWorker(self._factory, timeout, f"penstock-{self._name}-{number}")
