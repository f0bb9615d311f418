"""Jobs from a BullMQ queue on Redis, as the source of a run that never ends.

BullMQ's worker has a thread and an event loop of its own: its locks are renewed there whatever the
run is doing, and a lock that is lost all the same has the run give the job up.
"""

import asyncio
import logging
import queue
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from engine import (
    AttemptEnded,
    Event,
    ItemRecord,
    ItemUnfinished,
    Job,
    Source,
    UsageError,
    read_item,
)
from stages.service.profiles import AskedJob

if TYPE_CHECKING:
    import bullmq

log = logging.getLogger("penstock.worker")

Read = Callable[[object], AskedJob]
"""What a job's data ask for. Raises UsageError. May block."""

PROGRESS = 1.0
"""Seconds between two reports of a job's progress, at least."""

STALLED = 1000
"""How often a job may be taken from a worker that is gone, before BullMQ fails it: what it had done
stands, so it goes on."""


@dataclass(slots=True, eq=False)
class _Held:
    """A job that this worker has taken: it holds the lock of it until `end`."""

    bull: "bullmq.Job"
    token: str
    end: "asyncio.Future[Mapping[str, Any]]"
    job: Job | None = None
    item: str | None = None
    is_lost: bool = False
    unfinished: str | None = None
    """Why its results could not be made."""
    parts: int = 0
    told: float = field(default=0.0)


class BullSource(Source):
    """The jobs of a queue, `at_once` of them at a time. To be used within `connected`.

    A job's result, once its item has ended, is small: {"item", "outcome", "gaps"}; the records are
    where the pipeline puts them. An item that failed fails the job, with the reason: for good where
    no retry can help, else as often, and after as long, as the producer has said.
    """

    def __init__(
        self, url: str, name: str, workdir: Path, read: Read, *, at_once: int, lock: float
    ) -> None:
        """`lock` is the number of seconds for which a job is this worker's without a renewal."""
        self._url = url
        self._name = name
        self._workdir = workdir
        self._read = read
        self._at_once = at_once
        self._lock = lock
        self._coming: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._held: dict[str, _Held] = {}
        self._items: dict[str, _Held] = {}
        self._portal: BlockingPortal | None = None
        self._worker: bullmq.Worker | None = None

    @contextmanager
    def connected(self) -> Iterator["BullSource"]:
        """Raises UsageError where the server is not there, or may lose jobs."""
        with start_blocking_portal() as self._portal:
            self._portal.call(check_server, self._url)
            with self._portal.wrap_async_context_manager(self._working()):
                try:
                    yield self
                finally:
                    self._coming.put(None)
                    self._back.put(None)

    # The run's side

    async def items(self) -> AsyncGenerator[Job, None]:
        assert self._portal is not None
        try:
            while (job := await self._next()) is not None:
                yield job
        finally:
            self._portal.start_task_soon(self._take_no_more)

    async def _next(self) -> Job | None:
        return await to_thread.run_sync(self._coming.get, abandon_on_cancel=True)

    def withdrawn(self) -> Iterator[Job]:
        return iter(self._back.get, None)

    def entered(self, job: Job, item: str) -> None:
        held: _Held = job.handle
        held.item = item
        self._items[item] = held

    def ended(self, job: Job, outcome: Literal["done", "dropped", "failed"]) -> None:
        held: _Held = job.handle
        record = read_item(self._workdir, held.item) if held.item is not None else None
        self._settle(held, lambda: _result(outcome, record, held.unfinished))

    def lost(self, job: Job) -> None:
        self._settle(job.handle, _given_back)

    def __call__(self, event: Event) -> None:
        """Listens to the run: tells the producer how far a job is."""
        if isinstance(event, ItemUnfinished) and event.item in self._items:
            self._items[event.item].unfinished = event.reason
        if not isinstance(event, AttemptEnded) or event.outcome != "done":
            return
        held = self._items.get(event.item.partition("/")[0])
        if held is None:
            return
        held.parts += "/" in event.item
        now = time.monotonic()
        if now - held.told >= PROGRESS and self._portal is not None:
            held.told = now
            progress = {"stage": event.stage, "parts": held.parts}
            self._portal.start_task_soon(self._tell, held, progress)

    # The queue's side, on the loop of its own thread

    def _working(self) -> Any:
        return _WorkerContext(self)

    async def open(self) -> None:
        from bullmq import Worker

        milliseconds = int(self._lock * 1000)
        self._worker = Worker(
            self._name,
            self._process,
            {
                "connection": self._url,
                "autorun": False,
                "concurrency": self._at_once,
                "lockDuration": milliseconds,
                "stalledInterval": milliseconds,
                "maxStalledCount": STALLED,
                "runRetryDelay": 1000,
            },
        )
        self._worker.on("error", lambda error, *about: log.warning("the queue: %s", error))
        self._worker.on("lockRenewalFailed", self._locks_lost)

    async def run(self) -> None:
        assert self._worker is not None
        await self._worker.run()

    async def close(self) -> None:
        """Give back what has no end, and leave."""
        assert self._worker is not None
        for held in list(self._held.values()):
            if not held.end.done():
                _settle_now(held, _given_back)
        await self._worker.close()

    async def _take_no_more(self) -> None:
        assert self._worker is not None
        await self._worker.pause(True)

    def _locks_lost(self, ids: list[str]) -> None:
        for id_ in ids:
            held = self._held.get(id_)
            if held is not None and held.job is not None and not held.is_lost:
                held.is_lost = True
                log.warning("job %s is another worker's now; it is given up here", id_)
                self._back.put(held.job)

    async def _process(self, bull: "bullmq.Job", token: str) -> Mapping[str, Any]:
        from bullmq import DelayedError, UnrecoverableError

        held = _Held(bull, token, asyncio.get_running_loop().create_future())
        self._held[bull.id] = held
        try:
            asked = await to_thread.run_sync(self._read, bull.data)
            held.job = replace(asked.job, again=True, handle=held)
            if not held.is_lost:
                self._coming.put(held.job)
            return await held.end
        except UsageError as error:
            raise UnrecoverableError(str(error)) from None
        except GivenBackError:
            if held.is_lost:
                raise
            await bull.moveToDelayed(int(time.time() * 1000), token)
            raise DelayedError from None
        except FailedForGoodError as error:
            raise UnrecoverableError(str(error)) from None
        finally:
            del self._held[bull.id]
            if held.item is not None and self._items.get(held.item) is held:
                del self._items[held.item]

    async def _tell(self, held: _Held, progress: Mapping[str, Any]) -> None:
        try:
            if not held.end.done():
                await held.bull.updateProgress(dict(progress))
        except Exception as error:  # it is a courtesy: the job goes on without it
            log.warning("the progress of job %s could not be told: %s", held.bull.id, error)

    def _settle(self, held: _Held, result: Callable[[], Mapping[str, Any]]) -> None:
        assert self._portal is not None
        self._portal.call(_settle_now, held, result)


class _WorkerContext:
    """Runs the worker of a source beside the block."""

    def __init__(self, source: BullSource) -> None:
        self._source = source
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        import anyio

        await self._source.open()
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(self._source.run)

    async def __aexit__(self, *error: Any) -> None:
        await self._source.close()
        await self._stack.__aexit__(None, None, None)


class GivenBackError(Exception):
    """The run has let go of the job before its end."""


class FailedForGoodError(Exception):
    """No further attempt can help."""


class FailedError(Exception):
    """A later attempt may help."""


def _settle_now(held: _Held, result: Callable[[], Mapping[str, Any]]) -> None:
    if held.end.done():
        return
    try:
        held.end.set_result(result())
    except Exception as error:
        held.end.set_exception(error)


def _given_back() -> Mapping[str, Any]:
    raise GivenBackError("the worker gave it back")


def _result(outcome: str, record: ItemRecord | None, unfinished: str | None) -> Mapping[str, Any]:
    """What the producer gets. Raises FailedError for an item that failed."""
    if outcome == "failed" and unfinished is not None:
        raise FailedError(f"finish: {unfinished}")
    if outcome == "failed":
        where = f"{record.stage}: {record.reason}" if record is not None else "it failed"
        raise FailedError(where)
    told: dict[str, Any] = {"outcome": outcome}
    if record is not None:
        told |= {"item": record.id, "gaps": record.gaps}
    if outcome == "dropped" and record is not None:
        told["reason"] = record.reason
    return told


async def check_server(url: str) -> None:
    """Raises UsageError where no Redis answers at the address, or where it may throw jobs away when
    its memory is full."""
    import redis.asyncio as client
    from redis.exceptions import RedisError

    try:
        async with client.from_url(url, socket_connect_timeout=10) as server:
            policy = (await server.config_get("maxmemory-policy")).get("maxmemory-policy")
    except (RedisError, OSError, ValueError) as error:
        raise UsageError(f"the queue's Redis does not answer: {error}") from None
    if policy != "noeviction":
        raise UsageError(
            f"Redis may throw jobs away: its maxmemory-policy is {policy}; set it to noeviction"
        )
