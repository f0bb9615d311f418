"""The accepted jobs as the source of a run that never ends."""

import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import (
    AttemptEnded,
    Event,
    ItemPaths,
    ItemUnfinished,
    Job,
    JobOutcome,
    PartEnded,
    Pipeline,
    Source,
    StepOpened,
    Stopping,
    read_item,
)
from stages.publishing.records import read_result
from stages.serve.queue.jobs_table import JobRow, JobsTable
from stages.service.list_ends import list_ends

log = logging.getLogger("penstock.serve")

Told = Callable[[str, str, Mapping[str, Any]], None]
"""Hears news of a job: its id, the kind, and what there is to tell. Called by any thread, and
returns at once."""

NEWS, STEP, PART, PROGRESS, END = "job", "step", "part", "progress", "end"

PAUSE = 1.0
"""Seconds between two reports of a job's critical path, at least."""


@dataclass(slots=True, eq=False)
class _Taken:
    """A job that the run has."""

    row: JobRow
    item: str | None = None
    unfinished: str | None = None
    told: float = 0.0
    is_cancelled: bool = False
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        self.job = self.row.job(self)


class ServedJobs(Source):
    """The jobs of the ledger's table, `at_once` of them at a time, in the order in which they were
    accepted. It also listens to the run.

    `table` is None until the run holds the work folder. What a method called by the run raises ends
    the run: then the jobs stay as they are, and the next server goes on with them.
    """

    def __init__(self, workdir: Path, pipeline: Pipeline, at_once: int, told: Told) -> None:
        """Once all steps of the pipeline are open the service is ready."""
        self._workdir = workdir
        self._to_open = set(pipeline.names)
        self._paths = ItemPaths(pipeline)
        self._at_once = at_once
        self._told = told
        self._back: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._taken: dict[str, _Taken] = {}
        self._items: dict[str, list[_Taken]] = {}
        self._changed = threading.Condition()
        self._changes = 0
        self._is_closed = False
        self.table: JobsTable | None = None
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Number of attempts that have ended, by step and outcome."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.prepare: Callable[[], object] = lambda: None
        """Called once the run holds the work folder."""
        self.stopping: str | None = None
        """Why nothing new is taken."""

    @property
    def is_ready(self) -> bool:
        """Whether jobs are taken, and every step is open."""
        return self.table is not None and not self._to_open and self.stopping is None

    @property
    def opening(self) -> list[str]:
        """The steps that are not open yet."""
        return sorted(self._to_open)

    def close(self) -> None:
        """The run is over: let go of its threads, and of the table."""
        self._back.put(None)
        self._is_closed = True
        self._change()
        if self.table is not None:
            self.table.close()

    # The service's side, in any thread but the run's

    def accepted(self) -> None:
        """There is a new job in the table."""
        self._change()

    def cancel(self, row: JobRow) -> bool:
        """Have the job be wanted no more; whether it was still under way. Blocks."""
        assert self.table is not None
        if not self.table.cancel(row.number):
            return False
        taken = self._taken.get(row.id)
        if taken is not None:
            taken.is_cancelled = True
            self._back.put(taken.job)
        self._told(row.id, END, {"state": "cancelled"})
        return True

    # The run's side

    def items(self) -> Iterator[Job]:
        self.prepare()
        self.table = JobsTable(self._workdir)
        while (taken := self._next()) is not None:
            yield taken.job

    def _next(self) -> _Taken | None:
        """Waits for the next job, and for room; None where nothing more is to be taken."""
        while True:
            with self._changed:
                seen = self._changes
            if self._is_over:
                return None
            taken = self._take() if len(self._taken) < self._at_once else None
            if taken is not None:
                return taken
            with self._changed:
                while self._changes == seen:
                    self._changed.wait()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self.stopping is not None

    def _take(self) -> _Taken | None:
        """The next job; None where none waits."""
        assert self.table is not None
        row = self.table.take()
        if row is None:
            return None
        taken = _Taken(row)
        self._taken[row.id] = taken
        now = self.table.find(None, row.id)
        if now is None or not now.is_open:  # cancelled before it stood among those taken
            self._let_go(taken)
            return None
        self._told(row.id, NEWS, {"state": "running"})
        return taken

    def withdrawn(self) -> Iterator[Job]:
        return iter(self._back.get, None)

    def entered(self, job: Job, item: str) -> None:
        taken: _Taken = job.handle
        with self._changed:
            taken.item = item
            self._items.setdefault(item, []).append(taken)
        if taken.is_cancelled:  # it came between the source and the run
            self._back.put(job)

    def ended(self, job: Job, outcome: JobOutcome) -> None:
        taken: _Taken = job.handle
        record = read_item(self._workdir, taken.item) if taken.item is not None else None
        row = replace(taken.row, state=outcome, item=taken.item, ended=time.time())
        if outcome == "expired":
            row = replace(row, reason="it has not ended within its time; post it again to go on")
        elif record is not None:
            row = replace(row, stage=record.stage, reason=record.reason, gaps=record.gaps)
            if outcome == "done":
                held = list_ends(self._workdir, record)
                row = replace(row, result=read_result(record.folder), held=held)
        if outcome == "failed" and taken.unfinished is not None:
            row = replace(row, stage="finish", reason=taken.unfinished)
        self._settle(taken, row)

    def paid(self, job: Job, requests: float) -> None:
        assert self.table is not None
        taken: _Taken = job.handle
        self.table.costs.note(taken.row.owner, requests)

    def lost(self, job: Job) -> None:
        taken: _Taken = job.handle
        others = [one for one in self._taken.values() if one is not taken]
        same = any(one.row.source == taken.row.source for one in others)
        if taken.item is not None or taken.is_cancelled or self._is_over or not same:
            self._let_go(taken)
            return
        why = "the same video is at work with other options; post it again when that has ended"
        self._settle(taken, replace(taken.row, state="failed", reason=why, ended=time.time()))

    def _settle(self, taken: _Taken, row: JobRow) -> None:
        assert self.table is not None
        self.table.costs.keep()
        if self.table.settle(row):
            self._told(row.id, END, {"state": row.state})
        self._let_go(taken)

    def _let_go(self, taken: _Taken) -> None:
        with self._changed:
            self._taken.pop(taken.row.id, None)
            sharing = self._items.get(taken.item or "", [])
            if taken in sharing:
                sharing.remove(taken)
            if not sharing:
                self._items.pop(taken.item or "", None)
        self._change()

    def _change(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def __call__(self, event: Event) -> None:
        self._paths(event)
        match event:
            case StepOpened():
                self._to_open.discard(event.stage)
            case ItemUnfinished():
                for taken in tuple(self._items.get(event.item, ())):
                    taken.unfinished = event.reason
            case Stopping():
                self.stopping = event.why
                self._change()
            case AttemptEnded():
                self.attempts[event.stage, event.outcome] += 1
                self.seconds[event.stage] += event.seconds
                if event.outcome != "done":
                    return
                step = {"step": event.stage, "part": "/" in event.item}
                self._tell(event.item.partition("/")[0], STEP, step)
                self._progress(event.item.partition("/")[0])
            case PartEnded():
                part = {"of": event.split, "position": event.position, "outcome": event.outcome}
                self._tell(event.item.partition("/")[0], PART, part)

    def _progress(self, item: str) -> None:
        now = time.monotonic()
        due = [one for one in tuple(self._items.get(item, ())) if now - one.told >= PAUSE]
        path = self._paths.of(item) if due else None
        if path is None:
            return
        for taken in due:
            taken.told = now
            self._told(taken.row.id, PROGRESS, path.told())

    def _tell(self, item: str, kind: str, told: Mapping[str, Any]) -> None:
        for taken in tuple(self._items.get(item, ())):
            self._told(taken.row.id, kind, told)
