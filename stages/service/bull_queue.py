"""The connection to a BullMQ queue on Redis, on an event loop in a thread of its own: the locks of
its jobs are renewed there whatever the run is doing.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal

from engine import UsageError, passed_seconds
from stages.service.bull_calls import AGAIN, NO_RENEWALS, complete, is_held, renew_locks
from stages.service.job_data import is_cancelled
from stages.service.queue_server import check_queue_server, is_away, refused, with_patience
from stages.service.queue_watch import QueueWatch, meant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import bullmq

log = logging.getLogger("penstock.worker")

STALLED = 1000
"""How often a job may be taken from a worker that is gone, before BullMQ fails it: what it had done
stands, so it goes on."""

LOOK = 1.0
"""Seconds between two looks at whether jobs in hand have been cancelled."""

ASK = 2
"""Seconds for which an idle worker waits to be told of a job before it asks: what it would be told
may have gone to a worker that stands still."""

BUSY = 5.0
"""Seconds until a job is given again that the run would not have now."""

SOON, AT_ONCE = 2.0, 0.2
"""Seconds that Redis has to say whose a job is: before what others read is written, and before an
output here, for which nobody waits until a Redis that is away has come back."""

LEAVING = 10.0
"""Seconds that the queue has to take what it is told at the end."""


class FailedError(Exception):
    """The job has failed; a later attempt may help."""


class FailedForGoodError(Exception):
    """The job has failed, and no further attempt can help."""


class GivenBackError(Exception):
    """The run has let go of the job before its end."""


@dataclass(slots=True, eq=False)
class TakenJob:
    """A job that this worker has taken: it holds the lock of it until `end`.

    `why` says why it is given back before its end, once that is so, and `until` when it may be
    taken again, in seconds since the epoch. `ours_until` is when the lock ends that Redis has last
    confirmed, by `clock`.
    """

    bull: "bullmq.Job"
    token: str
    end: "asyncio.Future[Mapping[str, Any]]"
    handle: Any = None
    why: str | None = None
    until: float = field(default=0.0)
    ours_until: float = 0.0

    @property
    def id(self) -> str:
        return str(self.bull.id)


LOST, CANCELLED, THROTTLED = "lost", "cancelled", "throttled"
"""Reasons for a job to be given up: its lock is another worker's; somebody has cancelled it; what
it takes is closed for long."""


class Taker(Protocol):
    """Who does the jobs. All is called on the queue's loop, but for `understand`."""

    def understand(self, taken: TakenJob) -> None:
        """Read the job's data. Called in a thread, so it may block. Raises UsageError."""

    def take(self, taken: TakenJob) -> None:
        """Begin with a job that was understood."""

    def give_up(self, taken: TakenJob) -> None:
        """Let go of the job, and then `give_back` it."""

    def fail(self, why: Exception) -> None:
        """End: no more jobs can be taken."""


class BullQueue:
    """Takes jobs, `at_once` at a time, keeps their locks, and tells their ends."""

    def __init__(self, url: str, name: str, taker: Taker, *, at_once: int, lock: float) -> None:
        """`lock` is the number of seconds for which a job is this worker's without a renewal."""
        self._url = url
        self._name = name
        self._taker = taker
        self._at_once = at_once
        self._lock = lock
        self._taken: dict[str, TakenJob] = {}
        self._is_leaving = False
        self._watch = QueueWatch()
        self._portal: BlockingPortal | None = None
        self._tasks: TaskGroup | None = None
        self._worker: bullmq.Worker | None = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Raises UsageError where the server is not there, or may lose jobs."""
        with start_blocking_portal() as self._portal:
            self._portal.call(check_queue_server, self._url)
            with self._portal.wrap_async_context_manager(self._connection()):
                yield

    # From any other thread

    def begin(self) -> None:
        """Take jobs from now on."""
        self._call(self._begin)

    def leave(self, drain: float) -> None:
        """Take no more jobs, and after `drain` seconds have what is left given up."""
        self._call(self._leave, drain)

    def end(self, taken: TakenJob, result: Callable[[], Mapping[str, Any]]) -> None:
        """The job has ended: with the value of `result`, or with the FailedError or the
        FailedForGoodError that it raises."""
        self._call(self._end, taken, result)

    def give_back(self, taken: TakenJob) -> None:
        """The run has let go of the job."""
        self._call(self._end, taken, _given_back)

    def give_up(self, taken: TakenJob, why: str, until: float = 0.0) -> None:
        """Have the job given up."""
        self._call(self._give_up, taken, why, until)

    def is_ours(self, taken: TakenJob, *, surely: bool) -> bool | None:
        """Whether the job's lock is still this worker's, by the word of Redis; without `surely` by
        this machine's clock where that is enough. None where Redis does not answer. Blocks."""
        if not surely and taken.why != LOST and passed_seconds() < taken.ours_until:
            return True
        assert self._portal is not None
        try:
            return self._portal.call(self._renew, taken, SOON if surely else AT_ONCE)
        except RuntimeError:  # the queue has been left meanwhile
            return None

    def tell(self, taken: TakenJob, progress: Mapping[str, Any]) -> None:
        """Tell how far the job is. A courtesy: nobody waits for it."""
        self._call(self._tell_soon, taken, progress)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        assert self._portal is not None
        self._portal.start_task_soon(_called, function, arguments)

    # On the loop

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[None]":
        from bullmq import Worker

        milliseconds = int(self._lock * 1000)
        self._worker = Worker(
            self._name,
            self._process,
            {
                "connection": with_patience(self._url),
                "autorun": False,
                "drainDelay": ASK,
                "concurrency": self._at_once,
                "lockDuration": milliseconds,
                "stalledInterval": milliseconds,
                "maxStalledCount": STALLED,
                **NO_RENEWALS,
                "runRetryDelay": int(AGAIN * 1000),
            },
        )
        self._worker.on("error", lambda error, *about: self._watch.tell(error))
        raised: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # the group would put it into one of its own
                raised = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close()
                self._tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    def _begin(self) -> None:
        assert self._worker is not None
        assert self._tasks is not None
        self._tasks.start_soon(self._work)
        self._tasks.start_soon(self._look_for_cancelled)
        self._tasks.start_soon(self._watch.watch, self._worker.client.ping)
        told = self._locks_lost, self._watch.tell
        self._tasks.start_soon(renew_locks, self._worker, self._lock, *told)

    async def _work(self) -> None:
        """Have BullMQ take jobs until it is closed. Where Redis is away as it begins, that is said,
        and tried again; anything else ends the run."""
        from redis.exceptions import RedisError

        assert self._worker is not None
        while True:
            try:
                await self._worker.run()
            except Exception as error:
                if self._is_leaving:
                    # Redis' client may fail when it is cancelled while it connects anew.
                    log.debug("the queue was left while it connected: %s", error)
                    return
                if not is_away(error):
                    self._taker.fail(refused(error) if isinstance(error, RedisError) else error)
                    return
                self._watch.tell(error)
                await anyio.sleep(AGAIN)
            else:
                if not self._is_leaving:
                    self._taker.fail(UsageError("the queue's client has ended; start it again"))
                return

    def _leave(self, drain: float) -> None:
        if self._is_leaving:
            return
        self._is_leaving = True
        assert self._tasks is not None
        self._tasks.start_soon(self._drain, drain)

    async def _drain(self, seconds: float) -> None:
        assert self._worker is not None
        await self._worker.pause(True)
        await anyio.sleep(seconds)
        for taken in list(self._taken.values()):
            self._give_up(taken, "the worker leaves", 0.0)

    async def _close(self) -> None:
        """Give back what has no end, and leave."""
        assert self._worker is not None
        self._is_leaving = True
        for taken in list(self._taken.values()):
            self._end(taken, _given_back)
        closing = asyncio.ensure_future(self._worker.close())
        await asyncio.wait([closing], timeout=LEAVING)
        if not closing.done():
            told = "the queue does not answer; its jobs go to another worker after %g s"
            log.warning(told, self._lock)
            self._worker.cancelProcessing()
            await asyncio.wait([closing], timeout=LEAVING)

    async def _process(self, bull: "bullmq.Job", token: str) -> None:
        from bullmq import DelayedError, UnrecoverableError

        assert self._worker is not None
        bull.opts["stackTraceLimit"] = 0  # the site is told what is wrong, and not where it is
        taken = TakenJob(bull, token, asyncio.get_running_loop().create_future())
        self._taken[taken.id] = taken
        try:
            if is_cancelled(bull.data):
                raise FailedForGoodError(CANCELLED)
            await to_thread.run_sync(self._taker.understand, taken)
            if self._is_leaving:
                self._end(taken, _given_back)
            else:
                self._taker.take(taken)
            result = await taken.end
            await complete(self._worker, bull, token, result, self._lock, self._watch.tell)
            raise DelayedError  # BullMQ has nothing more to tell
        except GivenBackError:
            if taken.why == CANCELLED:
                raise UnrecoverableError(CANCELLED) from None
            if taken.why != LOST:
                await bull.moveToDelayed(self._next_time(taken), token)
            raise DelayedError from None
        except (FailedForGoodError, UsageError) as error:
            raise UnrecoverableError(str(error)) from None
        finally:
            del self._taken[taken.id]

    def _next_time(self, taken: TakenJob) -> int:
        """When the job may be taken again, in milliseconds since the epoch."""
        soonest = time.time() + (0.0 if self._is_leaving else BUSY)
        return int(max(soonest, taken.until) * 1000)

    def _end(self, taken: TakenJob, result: Callable[[], Mapping[str, Any]]) -> None:
        if taken.end.done():
            return
        try:
            taken.end.set_result(result())
        except Exception as error:
            taken.end.set_exception(error)

    def _give_up(self, taken: TakenJob, why: str, until: float) -> None:
        if taken.why is None and not taken.end.done():
            taken.why, taken.until = why, until
            self._taker.give_up(taken)

    def _locks_lost(self, ids: list[str]) -> None:
        for id_ in ids:
            taken = self._taken.get(str(id_))
            if taken is not None and taken.why is None:
                log.warning("job %s is another worker's now; it is given up here", id_)
                self._give_up(taken, LOST, 0.0)

    async def _renew(self, taken: TakenJob, within: float) -> bool | None:
        """Renew the job's lock; whether it was this worker's, None where Redis does not answer."""
        if taken.why == LOST or taken.end.done():
            return False
        assert self._worker is not None
        asked = passed_seconds()
        is_ours = None
        try:
            with anyio.move_on_after(within):
                is_ours = await is_held(self._worker, taken.id, taken.token, self._lock)
        except Exception as error:  # it is asked again
            log.debug("job %s could not be asked about: %s", taken.id, error)
        if is_ours:
            taken.ours_until = asked + self._lock
        elif is_ours is not None:
            self._locks_lost([taken.id])
        return is_ours

    async def _look_for_cancelled(self) -> None:
        while True:
            await anyio.sleep(LOOK)
            for taken in list(self._taken.values()):
                try:
                    data = await self._data_of(taken)
                except Exception as error:  # it is looked at again
                    log.debug("job %s could not be looked at: %s", taken.id, error)
                    break
                if is_cancelled(data):
                    self._give_up(taken, CANCELLED, 0.0)

    async def _data_of(self, taken: TakenJob) -> object:
        assert self._worker is not None
        key = f"{self._worker.qualifiedName}:{taken.id}"
        return json.loads(await self._worker.client.hget(key, "data") or "{}")

    def _tell_soon(self, taken: TakenJob, progress: Mapping[str, Any]) -> None:
        if self._tasks is not None and not self._is_leaving:
            self._tasks.start_soon(self._tell, taken, progress)

    async def _tell(self, taken: TakenJob, progress: Mapping[str, Any]) -> None:
        try:
            if not taken.end.done():
                await taken.bull.updateProgress(dict(progress))
        except Exception as error:
            self._watch.tell(f"the progress of jobs could not be told: {meant(error)}")


async def _called(function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    function(*arguments)


def _given_back() -> Mapping[str, Any]:
    raise GivenBackError("the worker gave it back")
