"""The jobs of a source that are under way, and the reports to the source of their ends."""

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from inspect import isawaitable, iscoroutine

import anyio
import anyio.lowlevel

from engine.contract.errors import StopRun
from engine.contract.job import Job, JobOutcome
from engine.contract.paid import Charge
from engine.ledger.bell import bell
from engine.ledger.records import Settled
from engine.sources.reading import amapped, mapped, read_lazily
from engine.sources.source import Source, defines
from engine.telemetry.passed_time import passed_seconds
from engine.telemetry.text import one_line
from engine.workers.call_thread import CallThread

log = logging.getLogger("penstock.engine")

MOST_DUE = 1000
"""The most reports to a source that may be due before it is read on."""

LONGEST_WAIT = 60.0
"""Seconds after which the clocks are looked at again for the next deadline: the one that tells the
time may be set, the other may have slept."""

LETTING_GO = 5.0
"""Seconds that a source has at the end of a run to take the remaining reports."""


class Taken:
    """A job that was read. Not the job itself: a source may give the same object twice."""

    __slots__ = ("_due", "has_expired", "is_withdrawn", "item", "job")

    def __init__(self, job: Job) -> None:
        self.job = job
        deadline = job.deadline
        self._due = math.inf if deadline is None else passed_seconds() + deadline - time.time()
        self.item: str | None = None
        """The id of its item, once that has entered."""
        self.is_withdrawn = False
        """The source did not want it any more before its item had entered."""
        self.has_expired = False
        """Its deadline passed before its item had ended."""

    @property
    def left(self) -> float:
        """Seconds to its deadline: until it is that time, and as much has passed as it was away
        when the job came. A clock that jumps ahead must not end for good what somebody waits for.
        """
        if self.job.deadline is None:
            return math.inf
        return max(self._due - passed_seconds(), self.job.deadline - time.time())


class Jobs:
    """The jobs that a run has read from its source, until their ends are reported to it.

    `read` yields them. The run calls `bind` with the item of a job, `ending` with an item that has
    ended, and `settle` with the end of a job. `tell` passes the ends to the source, one call after
    the other, in that order. `close` reports all other jobs as lost. `take_back` reads the jobs
    that the source does not want any more, and the run calls `gave_up` with the items that have
    left it.

    Everything but reading happens on the event loop. A source that defines neither `ended` nor
    `lost` is told nothing.
    """

    def __init__(
        self, source: Source, stop: Callable[[StopRun], None], *, resident: bool = False
    ) -> None:
        """`stop` is called, with the reason, if a report to the source fails. `resident`: the
        source need not end, and may give one address again and again."""
        self.is_resident = resident
        self.can_be_lost = defines(source, "alive")
        self.are_charged = defines(source, "paid")
        self._source = source
        self._stop = stop
        self._told = defines(source, "ended", "lost")
        self._lock = threading.Lock()
        self._closed = False
        self._out: dict[Taken, None] = {}
        """The jobs without an end so far, in the order in which they were read."""
        self._of: dict[str, list[Taken]] = {}
        self._due: deque[tuple[Taken, JobOutcome | None]] = deque()
        self._deadlines: list[tuple[float, int, Taken]] = []
        """When each is looked at, by `passed_seconds`. A heap; the numbers keep equals in order."""
        self._numbers = itertools.count()
        self._deadline_came = anyio.Event()
        self._lost: deque[Taken] = deque()
        """Jobs that are not alive, and are to be withdrawn."""
        self._has_lost = anyio.Event()
        self._bell = bell()
        self._telling = False
        self._changed = anyio.Event()
        self._thread = CallThread("penstock-source-told")

    def read(self) -> Iterator[Taken] | AsyncGenerator[Taken, None]:
        """The jobs of the source, to be read lazily."""
        jobs = self._source.items()
        if isinstance(jobs, AsyncGenerator):
            return amapped(self._take, jobs)
        return mapped(self._take, jobs)

    def _take(self, job: Job) -> Taken:
        """Called in the reading thread, so that no job is lost between that
        thread and the event loop."""
        taken = Taken(Job.of(job))
        with self._lock:
            closed = self._closed
            if not closed:
                self._out[taken] = None
        if closed and self._told:
            self._lose_late(job)
        return taken

    def _lose_late(self, job: Job) -> None:
        """An abandoned source returned a job after the end of the run."""
        try:
            answer = self._source.lost(job)
            if iscoroutine(answer):
                answer.close()  # its event loop is closed
        except Exception as error:
            log.warning("the source could not be told that %r is lost", job, exc_info=error)

    def bind(self, taken: Taken, item: str) -> None:
        """Report the job when the item of this id ends."""
        self._of.setdefault(item, []).append(taken)
        self.name(taken, item)
        if taken.job.deadline is not None:
            if len(self._deadlines) > 2 * len(self._out) + 100:  # most of them have ended
                self._deadlines = [one for one in self._deadlines if one[2] in self._out]
                heapq.heapify(self._deadlines)
            self._look_at(taken, taken.left)
            self._deadline_came.set()

    def has_expired(self, taken: Taken) -> bool:
        """Whether the job's deadline has passed before its item could enter: then it is settled."""
        taken.has_expired = taken.left <= 0
        if taken.has_expired:
            self.settle(taken, None)
        return taken.has_expired

    async def expire(self, give_up: Callable[[str], Awaitable[object]]) -> None:
        """Withdraw jobs as their deadlines pass, until cancelled."""
        while True:
            left = math.inf
            while self._deadlines:
                at, _, taken = self._deadlines[0]
                left = at - passed_seconds()
                if taken in self._out and left > 0:
                    break
                heapq.heappop(self._deadlines)
                left = math.inf
                if taken not in self._out:
                    continue
                if taken.left > 0:
                    self._look_at(taken, taken.left)
                    continue
                taken.has_expired = True
                await self.withdraw(taken, give_up)
            self._deadline_came = anyio.Event()
            with anyio.move_on_after(left):
                await self._deadline_came.wait()

    def _look_at(self, taken: Taken, left: float) -> None:
        """Look at the job's deadline after so many seconds, at least once in LONGEST_WAIT."""
        at = passed_seconds() + min(left, LONGEST_WAIT)
        heapq.heappush(self._deadlines, (at, next(self._numbers), taken))

    def name(self, taken: Taken, item: str) -> None:
        """Tell the source the id of the job's item."""
        taken.item = item
        if self._told:
            self._source.entered(taken.job, item)

    def ending(self, item: str) -> Sequence[Taken]:
        """The jobs of the item of this id, which has ended, as the ledger has it: each is to be
        settled. A job that names the item from now on is none of them."""
        return self._of.pop(item, ())

    def are_alive(self, item: str, *, surely: bool) -> list[bool | None]:
        """What the source says of the jobs of the item of this id that have not been told of its
        end, as `Source.alive`; those that are not alive are withdrawn. From any thread; blocks."""
        told = []
        for taken in self._that_name(item):
            told.append(self._source.alive(taken.job, surely=surely))
            if told[-1] is False:
                self._bell.ring(partial(self._lose, taken))
        return told

    def charge(self, item: str) -> Charge | None:
        """Charges the first job of the item of this id; None where it has none. From any thread."""
        for taken in self._that_name(item):
            return partial(self._source.paid, taken.job)
        return None

    def _that_name(self, item: str) -> list[Taken]:
        return [one for one in list(self._out) if one.item == item]

    def _lose(self, taken: Taken) -> None:
        self._lost.append(taken)
        self._has_lost.set()

    async def let_go(self, give_up: Callable[[str], Awaitable[object]]) -> None:
        """Withdraw the jobs that are not alive, until cancelled."""
        while True:
            while self._lost:
                await self.withdraw(self._lost.popleft(), give_up)
            self._has_lost = anyio.Event()
            await self._has_lost.wait()

    def wants(self, item: str) -> bool:
        """Whether a job waits for the end of the item of this id."""
        return bool(self._of.get(item))

    def gave_up(self, item: str) -> None:
        """The item of this id has left the run without an end, and the ledger has that."""
        for taken in self._of.pop(item, ()):
            self.settle(taken, None)

    async def attend(self, give_up: Callable[[str], Awaitable[object]]) -> None:
        """Tell the source of ends, and withdraw jobs that it does not want any more, that are
        another machine's, and whose deadlines pass, until cancelled. `give_up` has an item leave
        the run."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.tell)
            tasks.start_soon(self.take_back, give_up)
            tasks.start_soon(self.expire, give_up)
            tasks.start_soon(self.let_go, give_up)

    async def take_back(self, give_up: Callable[[str], Awaitable[object]]) -> None:
        """Read the jobs that the source does not want any more, and withdraw them."""
        if type(self._source).withdrawn is Source.withdrawn:
            return
        jobs = self._source.withdrawn()
        async with aclosing(read_lazily(jobs, "penstock-source-withdrawn")) as read:
            async for job in read:
                taken = next((one for one in self._out if one.job is job), None)
                if taken is not None:  # otherwise its end is on its way, or told
                    await self.withdraw(taken, give_up)

    async def withdraw(self, taken: Taken, give_up: Callable[[str], Awaitable[object]]) -> None:
        """Have the job's item given up, if no other job shares it. A job on its way into the run is
        marked: call this again once it has entered. One whose item has ended is told of that."""
        item = next((id_ for id_, jobs in self._of.items() if taken in jobs), None)
        if item is None:
            taken.is_withdrawn = True
        elif self._of[item] == [taken]:
            await give_up(item)
        else:
            self._of[item].remove(taken)
            self.settle(taken, None)

    def settle(self, taken: Taken, outcome: Settled | None) -> None:
        """The job's item has ended with this outcome; None: this run will not end it."""
        if taken in self._out:
            del self._out[taken]
            if self._told:
                told = "expired" if outcome is None and taken.has_expired else outcome
                self._due.append((taken, told))
                self._change()

    async def room(self) -> None:
        """Return when fewer than MOST_DUE reports are due."""
        while len(self._due) >= MOST_DUE:
            await self._changed.wait()

    async def all_told(self) -> None:
        """Return when the source has received all reports so far."""
        while self._due or self._telling:
            await self._changed.wait()

    async def tell(self) -> None:
        """Pass the due reports to the source, until cancelled."""
        while True:
            while self._due:
                self._telling = True
                try:
                    await self._tell(*self._due.popleft())
                finally:
                    self._telling = False
                    self._change()
            await self._changed.wait()

    async def close(self) -> None:
        """The run is over: pass the due reports to the source, and report the remaining jobs as
        lost. Takes no longer than LETTING_GO. The ledger is closed by now."""
        with self._lock:
            self._closed = True
        with anyio.move_on_after(LETTING_GO, shield=True):
            await anyio.lowlevel.checkpoint()  # let the last answers of the ledger arrive
            for taken in list(self._out):
                self.settle(taken, None)
            while self._due:
                await self._tell(*self._due[0])
                self._due.popleft()
        if self._due:
            left = len(self._due)
            log.warning("the source does not answer; jobs that it is not told of: %d", left)
        self._thread.close()

    async def _tell(self, taken: Taken, outcome: JobOutcome | None) -> None:
        source, job = self._source, taken.job
        try:
            if outcome is None:
                answer = await self._thread.call(source.lost, job)
            else:
                answer = await self._thread.call(source.ended, job, outcome)
            if isawaitable(answer):
                await answer
        except Exception as error:
            why = one_line(f"{type(error).__name__}: {error}")
            log.warning("the source could not be told of %r: %s", job, why, exc_info=error)
            if outcome is not None:
                self._stop(StopRun(f"the source could not be told how a job ended: {why}"))

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
