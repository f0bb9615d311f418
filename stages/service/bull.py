"""Jobs from a BullMQ queue on Redis, as the source of a run that never ends."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio import to_thread

from engine import (
    AttemptEnded,
    AttemptStarted,
    Event,
    ItemPaths,
    ItemRecord,
    ItemUnfinished,
    Job,
    JobOutcome,
    Pipeline,
    Source,
    Stopping,
    read_item,
)
from stages.publishing.records import read_result
from stages.service.bull_queue import (
    THROTTLED,
    BullQueue,
    FailedError,
    FailedForGoodError,
    TakenJob,
)
from stages.service.list_ends import list_ends
from stages.service.profiles import AskedJob

Read = Callable[[object], AskedJob]
"""What a job's data ask for. Raises UsageError. May block."""

PROGRESS = 1.0
"""Seconds between two reports of a job's progress, at least."""

LONG = 60.0
"""Seconds of a pause from which on a job with nothing else in hand is given back until its end."""


@dataclass(slots=True, eq=False)
class _Doing:
    """A job that the run does. `in_hand` is the number of attempts at its item and parts."""

    taken: TakenJob
    job: Job
    item: str | None = None
    unfinished: str | None = None
    """Why its results could not be made."""
    parts: int = 0
    told: float = 0.0
    in_hand: int = 0


class BullSource(Source):
    """The jobs of a queue, `at_once` of them at a time. To be used within `connected`.

    A job's result, once its item has ended, is small: {"item", "outcome", "gaps"}, and "result",
    an address of its records, where the pipeline publishes them, and for a list "list": how its
    items have ended. An item that failed fails the job,
    with the reason: for good where no retry can help, else as often, and after as long, as the
    producer has said.

    It listens to its run: it tells the producer how far a job is, gives a job back that has to wait
    for long, and gives back all of them `drain` seconds after the run has begun to stop.
    """

    def __init__(
        self,
        url: str,
        name: str,
        workdir: Path,
        read: Read,
        *,
        pipeline: Pipeline,
        at_once: int,
        lock: float,
        drain: float = 20.0,
    ) -> None:
        """`pipeline` is the run's; `lock` is the number of seconds for which a job is this worker's
        without a renewal."""
        self._workdir = workdir
        self._read = read
        self._drain = drain
        self._paths = ItemPaths(pipeline)
        self._coming: queue.SimpleQueue[_Doing | Exception | None] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._by_item: defaultdict[str, list[_Doing]] = defaultdict(list)
        self._queue = BullQueue(url, name, self, at_once=at_once, lock=lock)

    @contextmanager
    def connected(self) -> Iterator["BullSource"]:
        """Raises UsageError where the server is not there, or may lose jobs."""
        with self._queue.connected():
            try:
                yield self
            finally:
                self._coming.put(None)
                self._back.put(None)

    # The run's side

    async def items(self) -> AsyncGenerator[Job, None]:
        """Raises UsageError where Redis gives no jobs any more."""
        self._queue.begin()
        try:
            while (doing := await self._next()) is not None:
                if isinstance(doing, Exception):
                    raise doing
                yield doing.job
        finally:
            self._queue.leave(self._drain)
            with suppress(queue.Empty):
                while True:
                    left = self._coming.get_nowait()
                    if isinstance(left, _Doing):
                        self._queue.give_back(left.taken)
            self._coming.put(None)  # for the thread that `_next` may have left waiting

    async def _next(self) -> _Doing | Exception | None:
        return await to_thread.run_sync(self._coming.get, abandon_on_cancel=True)

    def withdrawn(self) -> Iterator[Job]:
        return iter(self._back.get, None)

    def entered(self, job: Job, item: str) -> None:
        doing: _Doing = job.handle
        doing.item = item
        with self._lock:
            self._by_item[item].append(doing)

    def ended(self, job: Job, outcome: JobOutcome) -> None:
        doing = self._gone(job)
        record = read_item(self._workdir, doing.item) if doing.item is not None else None
        # Read at once: a later job may have it published anew.
        made: dict[str, Any] = {}
        if record is not None and outcome == "done":
            found = {
                "result": read_result(record.folder),
                "list": list_ends(self._workdir, record),
            }
            made = {name: one for name, one in found.items() if one is not None}
        self._queue.end(doing.taken, lambda: _result(outcome, record, doing.unfinished, made))

    def lost(self, job: Job) -> None:
        self._queue.give_back(self._gone(job).taken)

    def alive(self, job: Job, *, surely: bool) -> bool | None:
        doing: _Doing = job.handle
        return self._queue.is_ours(doing.taken, surely=surely)

    def _gone(self, job: Job) -> _Doing:
        doing: _Doing = job.handle
        if doing.item is not None:
            with self._lock:  # jobs enter on another thread than they end
                self._by_item[doing.item].remove(doing)
                if not self._by_item[doing.item]:
                    del self._by_item[doing.item]
        return doing

    def __call__(self, event: Event) -> None:
        """Listens to the run."""
        self._paths(event)
        if isinstance(event, Stopping):
            self._queue.leave(self._drain)
        elif isinstance(event, AttemptStarted | AttemptEnded | ItemUnfinished):
            for doing in tuple(self._by_item.get(event.item.partition("/")[0], ())):
                if isinstance(event, AttemptStarted):
                    doing.in_hand += 1
                elif isinstance(event, AttemptEnded):
                    doing.in_hand -= 1
                    self._attempted(doing, event)
                else:
                    doing.unfinished = event.reason

    def _attempted(self, doing: _Doing, event: AttemptEnded) -> None:
        if event.outcome == "throttled" and (event.delay or 0.0) >= LONG and doing.in_hand <= 0:
            self._queue.give_up(doing.taken, THROTTLED, time.time() + (event.delay or 0.0))
        if event.outcome != "done":
            return
        doing.parts += "/" in event.item
        now = time.monotonic()
        if now - doing.told >= PROGRESS:
            doing.told = now
            path = self._paths.of(event.item.partition("/")[0])
            bound = path.told() if path is not None else {}
            told = {"stage": event.stage, "parts": doing.parts, **bound}
            self._queue.tell(doing.taken, told)

    # The queue's side, on the loop of its own thread

    def understand(self, taken: TakenJob) -> None:
        job = self._read(taken.bull.data).job
        taken.handle = doing = _Doing(taken, job)
        # A lower number goes first there, and none at all before any: a higher one goes first here.
        urgency = -int(taken.bull.priority or 0)
        doing.job = replace(job, again=True, priority=urgency, handle=doing)

    def take(self, taken: TakenJob) -> None:
        self._coming.put(taken.handle)

    def give_up(self, taken: TakenJob) -> None:
        if taken.handle is not None:
            self._back.put(taken.handle.job)

    def fail(self, why: Exception) -> None:
        self._coming.put(why)


def _result(
    outcome: str,
    record: ItemRecord | None,
    unfinished: str | None,
    made: Mapping[str, Any],
) -> Mapping[str, Any]:
    """What the producer gets, with what was `made` of the item. Raises FailedError or
    FailedForGoodError for an item that failed."""
    if outcome == "expired":
        raise FailedForGoodError("expired: its deadline has passed")
    if outcome == "failed" and unfinished is not None:
        raise FailedError(f"finish: {unfinished}")
    if outcome == "failed":
        where = f"{record.stage}: {record.reason}" if record is not None else "it failed"
        if record is not None and not record.retryable:
            raise FailedForGoodError(where)
        raise FailedError(where)
    told: dict[str, Any] = {"outcome": outcome}
    if record is not None:
        told |= {"item": record.id, "gaps": record.gaps}
    told |= made
    if outcome == "dropped" and record is not None:
        told["reason"] = record.reason
    return told
