"""The ledger's records of an item: the ends of its stages, and the changes that follow."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engine.contract.item import Item
from engine.contract.job import Job, Parameters
from engine.telemetry.processor_time import ProcessorTime, run_seconds

Settled = Literal["done", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class Known:
    """The state of one stage of one item, by the ledger and the disk, when a run begins.

    `outcome` and `fingerprint` are the ledger's (None: no row, or it is pending), as are `kind`,
    `reason` and `retryable` for ends other than done, and the first two where a step was skipped;
    `on_disk` is the fingerprint of the output in the folder; `discarded` says that the output was
    deleted on purpose; `expanded` is the number of items that the item produced, None for an
    ordinary output; `parts` is that of the parts, for the step that made them and for those that
    stand there, else None; `gaps` is that of the parts that failed, for the latter; `is_open` says
    of those that some parts have not ended: it is to be gathered again, most likely to the same;
    `some_ended_ill` that some failed or were dropped, and so may not have got to the step;
    `all_there` that every part has what the step made of it, whole, in its folder: looked at only
    where some are open, and the step reads what is not kept.
    """

    outcome: Settled | None = None
    fingerprint: str | None = None
    on_disk: str | None = None
    discarded: bool = False
    expanded: int | None = None
    kind: str | None = None
    reason: str | None = None
    retryable: bool = False
    parts: int | None = None
    gaps: int | None = None
    is_open: bool = False
    some_ended_ill: bool = False
    all_there: bool = False

    @property
    def is_skipped(self) -> bool:
        """Whether the stage had rightly nothing to do, and so left no output."""
        return self.outcome == "done" and self.kind is not None

    def end(self, stage: str, outcome: Settled, fingerprint: str) -> "End":
        """The end that the ledger has, of the `stage` that this is the state of."""
        failure = Failure(self.kind, self.reason or "") if self.kind is not None else None
        expanded = self.expanded if outcome == "done" and failure is None else None
        return End(
            stage,
            outcome,
            fingerprint,
            expanded,
            self.retryable,
            failure=failure,
            parts=self.parts,
            gaps=self.gaps,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage left no output: kind, one line, and the traceback of a bug."""

    kind: str
    reason: str
    traceback: str | None = None


class End(NamedTuple):
    """How a stage ended with an item, and why if it left no output: if it is done all the same, it
    was skipped. `retryable`: a failure that `penstock retry` may mend; `alone`: a failure that
    tells nothing about other items.

    The end of a step that split the item has the number of `parts`; that of a step at those parts,
    for the item as a whole, has it too, and the number of `gaps`: parts that failed."""

    stage: str
    outcome: Settled
    fingerprint: str
    expanded: int | None = None
    retryable: bool = False
    alone: bool = False
    failure: Failure | None = None
    parts: int | None = None
    gaps: int | None = None

    @property
    def has_output(self) -> bool:
        """Whether it left an output: it is done, and was not skipped."""
        return self.outcome == "done" and self.failure is None


class Change(NamedTuple):
    """All that follows for an item from the end of a stage, or from its entry: the content that
    `Ledger.apply` writes, in the order of these fields."""

    item: Item
    ended: End | None = None
    """None: the item enters the run, or a stage gives a decided item up."""
    reused: tuple[End, ...] = ()
    """Ends of earlier runs that still hold."""
    restored: tuple[End, ...] = ()
    """Those of `reused` that the ledger lacks, or has otherwise."""
    withdrawn: tuple[str, ...] = ()
    """Stages that the item waited for and does not any more: it is decided, and they had not begun
    with it."""
    left: tuple[str, ...] = ()
    """Stages that the item waited for, and stays pending at: it was given up."""
    entering: tuple[str, ...] = ()
    """The stages that the item waits for from now on."""
    void: tuple[str, ...] = ()
    """Stages after those, whose earlier ends do not hold any longer."""
    void_above: tuple[str, ...] = ()
    """Of a part: the steps at its level that its item has to gather anew, now that the part has
    work to do there."""
    discardable: tuple[str, ...] = ()
    """Stages whose outputs no stage will read any more, to be deleted on purpose."""
    stale: tuple[str, ...] = ()
    """Stages whose outputs belong to earlier runs that ended otherwise: to be deleted."""
    obsolete: tuple[str, ...] = ()
    """With the item's end: stages that earlier runs reached with the item, and this one did not."""
    outcome: Settled | None = None
    """The item's outcome; None while it goes on."""
    discardable_in_parts: tuple[str, ...] = ()
    """Those of `discardable` whose outputs the item's parts have."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not any(self[1:])

    @property
    def stands_in_a_folder(self) -> bool:
        """Whether the folder of an output says all of it too, should the ledger miss it."""
        end = self.ended
        done = end is not None and end.has_output and end.expanded is None
        return done and not self.discardable


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that has begun: its number, and the leftovers of the runs before it.

    `last_attempt` is the highest number of an attempt so far; `unended` are the items and stages of
    unended attempts of killed runs; `suspects` and `died` are those of `journey.suspects`.
    """

    run: int
    last_attempt: int = 0
    unended: Sequence[tuple[str, str]] = ()
    suspects: Mapping[tuple[str, str], int] = field(default_factory=dict)
    died: int | None = None


@dataclass(slots=True)
class AttemptRow:
    """A row of `attempts`. Times are seconds since the epoch; `item` is an id.

    `cost` is the attempt's own, `run_processor` the whole run's processor seconds at its end. The
    run fills the row in while the ledger's thread may be writing it: the thread writes the fields
    that are set, and `ended` is set last.
    """

    id: int
    run: int
    item: str
    stage: str
    worker: int
    attempt: int
    started: float
    outcome: str | None = None
    failure: Failure | None = None
    cost: ProcessorTime | None = None
    run_processor: float | None = None
    due: float | None = None
    """The earliest time of another attempt."""
    gate: str | None = None
    """The gate that turned the attempt away, usually a host."""
    blocked: float | None = None
    """Seconds for which it waited until the parts that it made were handed over."""
    ended: float | None = None
    whole: bool = False
    """Whether the ledger has its end too."""

    def end(self, outcome: str, failure: Failure | None) -> None:
        self.outcome, self.failure = outcome, failure
        self.run_processor = run_seconds()
        self.ended = time.time()

    def how_it_ended(self) -> tuple[object, ...]:
        """The values of the columns from `ended` on, in their order."""
        failure, cost = self.failure, self.cost
        return (
            self.ended,
            self.outcome,
            failure.kind if failure else None,
            failure.reason if failure else None,
            failure.traceback if failure else None,
            cost.used if cost else None,
            cost.delayed if cost else None,
            self.run_processor,
            self.due,
            self.gate,
            self.blocked,
        )


NOT_ENDED = (None,) * 11
"""The values of these columns until then."""


def known_ends(db: sqlite3.Connection, item: str) -> dict[str, Known]:
    """The known state of an item's stages, by name."""
    rows = db.execute(
        "SELECT stage, outcome, fingerprint, discarded, expanded, kind, reason, retryable, parts,"
        " gaps"
        " FROM stages WHERE item = ?",
        (item,),
    )
    return {
        stage: Known(
            outcome=None if outcome == "pending" else outcome,
            fingerprint=fingerprint,
            discarded=bool(discarded),
            expanded=expanded,
            kind=kind,
            reason=reason,
            retryable=bool(retryable),
            parts=parts,
            gaps=gaps,
        )
        for (
            stage,
            outcome,
            fingerprint,
            discarded,
            expanded,
            kind,
            reason,
            retryable,
            parts,
            gaps,
        ) in rows
    }


def known_job(id_: str, source: str, parameters: str | None) -> Job:
    """The job for an item of the ledger, with its id, so that a run does that item."""
    return Job(source, id_, Parameters(parameters or ""))
