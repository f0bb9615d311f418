"""The jobs of a source that are out, and the source's being told what became of each."""

import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from inspect import isawaitable, iscoroutine

import anyio
import anyio.lowlevel

from engine.contract.errors import StopRun
from engine.contract.job import Job
from engine.ledger.records import Settled
from engine.sources.reading import amapped, mapped
from engine.sources.source import Source, wants_to_know
from engine.telemetry.text import one_line
from engine.workers.call_thread import CallThread

log = logging.getLogger("penstock.engine")

MOST_DUE = 1000
"""Jobs that a source may have to be told of before no more of it is read."""

LETTING_GO = 5.0
"""Seconds that a source has at the end of a run to hear of what is left."""


class Taken:
    """A job that was read. Not the job itself: a source may give the same one twice."""

    __slots__ = ("job",)

    def __init__(self, job: Job) -> None:
        self.job = job


class Jobs:
    """The jobs that a run has read from its source, until the source is told of them.

    `read` yields them. The run says with `bind` which item a job became, with `ended` how an item
    ended, and with `settle` what became of a job that is no item. `tell` passes this on to the
    source, one call after the other, in that order. `close` tells that all others are lost.

    Everything but reading happens on the event loop. For a source that does not want to know,
    nothing is kept and nothing told.
    """

    def __init__(self, source: Source, stop: Callable[[StopRun], None]) -> None:
        """`stop` is called, with the reason, once the source cannot be told."""
        self._source = source
        self._stop = stop
        self._told = wants_to_know(source)
        self._lock = threading.Lock()
        self._closed = False
        self._out: dict[Taken, None] = {}
        """Those of which nothing is known yet, in the order in which they were read."""
        self._of: dict[str, list[Taken]] = {}
        self._due: deque[tuple[Taken, Settled | None]] = deque()
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
        """In the thread that reads, so that no job is lost between there and the event loop."""
        taken = Taken(Job.of(job))
        if self._told:
            with self._lock:
                closed = self._closed
                if not closed:
                    self._out[taken] = None
            if closed:
                self._lose_late(job)
        return taken

    def _lose_late(self, job: Job) -> None:
        """The source was left to itself, and comes back after the end of the run."""
        try:
            answer = self._source.lost(job)
            if iscoroutine(answer):
                answer.close()  # its loop has gone
        except Exception as error:
            log.warning("the source could not be told that %r is lost", job, exc_info=error)

    def bind(self, taken: Taken, item: str) -> None:
        """The job is told of when the item of this id has ended."""
        if self._told:
            self._of.setdefault(item, []).append(taken)

    def ended(self, item: str, outcome: Settled) -> None:
        """The item of this id has ended, and the ledger has it."""
        for taken in self._of.pop(item, ()):
            self.settle(taken, outcome)

    def settle(self, taken: Taken, outcome: Settled | None) -> None:
        """The job's item has ended so; None: this run will not end it."""
        if self._told and taken in self._out:
            del self._out[taken]
            self._due.append((taken, outcome))
            self._change()

    async def room(self) -> None:
        """Return when not too much is due to be told."""
        while len(self._due) >= MOST_DUE:
            await self._changed.wait()

    async def all_told(self) -> None:
        """Return when the source has been told of all that is known by now."""
        while self._due or self._telling:
            await self._changed.wait()

    async def tell(self) -> None:
        """Tell the source what is due, for ever."""
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
        """The run is over: tell what is due, and of the rest that it is lost. Takes no longer than
        LETTING_GO. The ledger has been closed."""
        with self._lock:
            self._closed = True
        with anyio.move_on_after(LETTING_GO, shield=True):
            await anyio.lowlevel.checkpoint()  # the last answers of the ledger are on their way
            for taken in list(self._out):
                self.settle(taken, None)
            while self._due:
                await self._tell(*self._due[0])
                self._due.popleft()
        if self._due:
            left = len(self._due)
            log.warning("the source does not answer; jobs that it is not told of: %d", left)
        self._thread.close()

    async def _tell(self, taken: Taken, outcome: Settled | None) -> None:
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
