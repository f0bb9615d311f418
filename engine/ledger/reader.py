"""Reads from the ledger: the state of a run, failures, items, and the audit.

Reading takes no lock that delays a run. Everything read here may be shown: passwords and signatures
are removed from addresses. Only `pending_items` has them, since a run needs them to go on.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from engine.contract.errors import WorkFolderError
from engine.contract.item import PARTS, Item, place_of
from engine.contract.job import Job, Parameters
from engine.contract.pipeline import AttemptRecord, ItemRecord, Pipeline, RunRecord
from engine.contract.showing import shown, shown_in
from engine.ledger.audit import Audit
from engine.ledger.errors import explained, is_explained
from engine.ledger.records import known_job
from engine.ledger.retrying import ABANDONED, GAP, WHOLE
from engine.ledger.schema import FILE, POOL_COLUMNS, columns_of, connect
from engine.telemetry.statistics import (
    FailureKind,
    Hold,
    PoolStatistics,
    Sample,
    StageCounts,
    join_holds,
)

OUTCOMES = ("done", "dropped", "failed", "pending")

OF_PARTS = "(instr(s.item, '/') > 0)"
"""Whether a row of stages is about a part."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as the ledger has it. Times are seconds since the epoch."""

    id: int
    pipeline: str
    started: float
    ended: float | None
    outcome: str | None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seal: str | None = None
    resident: bool = False


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """One attempt as the ledger has it; `ended` and `outcome` are None while it goes on."""

    id: int
    run: int
    item: str
    source: str
    stage: str
    worker: int
    started: float
    ended: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """One item that ended ill, or one part: then `place` says which one of its item."""

    source: str
    place: str
    reason: str
    traceback: str | None


class LedgerReader:
    """Read access to the ledger of one work folder. A context manager."""

    def __init__(self, workdir: Path) -> None:
        """Raises WorkFolderError where `workdir` has no ledger."""
        self.workdir = workdir
        if not (workdir / FILE).is_file():
            raise WorkFolderError(
                f"{workdir} is not a work folder: it has no {FILE}; give the folder that a run "
                "wrote"
            )
        self._db = connect(workdir / FILE, read_only=True)
        if not columns_of(self._db, "runs"):
            self._db.close()
            raise WorkFolderError(f"{workdir} has seen no run yet")

    def __enter__(self) -> "LedgerReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()
        if isinstance(error, sqlite3.Error) and is_explained(error):
            raise explained(error, self.workdir / FILE) from error

    def hold(self) -> None:
        """From now on read the ledger as it is now, whatever is written meanwhile."""
        self._db.execute("BEGIN")

    def last_run(self) -> RunRow | None:
        return next(self.runs(), None)

    def runs(self) -> Iterator[RunRow]:
        """Every run, the last one first, read lazily."""
        there = columns_of(self._db, "runs")
        more = ", ".join(name if name in there else "NULL" for name in ("seal", "resident"))
        rows = self._db.execute(
            "SELECT id, pipeline, started, ended, outcome, settings, versions,"
            f" {more} FROM runs ORDER BY id DESC"
        )
        for id_, pipeline, started, ended, outcome, settings, versions, sealed, resident in rows:
            told = id_, pipeline, started, ended, outcome
            given = json.loads(settings), json.loads(versions)
            yield RunRow(*told, *given, sealed, bool(resident))

    def counts(self, pipeline: Pipeline) -> list[StageCounts]:
        """What entered each step, by outcome, over the whole ledger: items, or the parts that the
        step stands at. An item whose parts it judged is not among these."""
        return [self._stage_counts(name, pipeline[name].each) for name in pipeline.names]

    def _stage_counts(self, stage: str, each: str) -> StageCounts:
        # A step's rows are of its own level, or of those above it: what an item came to there.
        own = "instr(item, ?) > 0" if each else "instr(item, ?) = 0"
        rows = self._db.execute(
            "SELECT outcome, count(*),"
            " count(*) FILTER (WHERE outcome = 'done' AND kind IS NOT NULL)"
            f" FROM stages WHERE stage = ? AND {own} GROUP BY 1",
            (stage, f"/{each}{PARTS}/" if each else "/"),
        ).fetchall()
        by = dict.fromkeys(OUTCOMES, 0) | {outcome: count for outcome, count, _ in rows}
        skipped = sum(count for *_, count in rows)
        return StageCounts(stage, sum(by.values()), **by, skipped=skipped)

    def item_counts(self) -> StageCounts:
        """The whole items by their outcome as a whole, over the whole ledger."""
        return self._count("items", self._whole())

    def part_counts(self) -> StageCounts:
        """The parts by their outcome, likewise, at all levels."""
        counts = self._count("parts", f"NOT {self._whole()}")
        if not counts.pending:
            return counts
        rows = self._db.execute(f"SELECT count(*) FROM items i WHERE {ABANDONED}")
        abandoned = int(rows.fetchone()[0])
        return replace(counts, pending=counts.pending - abandoned, abandoned=abandoned)

    def gaps(self, run: int | None = None) -> int:
        """The number of items, in this run or of all, that are done without parts that failed."""
        if not self._knows_parts():
            return 0
        found = f"SELECT count(DISTINCT whole.id) FROM items i{WHOLE} WHERE {GAP}"
        rows = self._db.execute(f"{found} AND (?1 IS NULL OR whole.entered_run = ?1)", (run,))
        return int(rows.fetchone()[0])

    def _count(self, name: str, which: str) -> StageCounts:
        counts = ", ".join("count(*) FILTER (WHERE outcome = ?)" for _ in OUTCOMES)
        # No index holds the outcomes, so grouping by them would sort all items.
        row = self._db.execute(f"SELECT {counts} FROM items WHERE {which}", OUTCOMES).fetchone()
        by = dict(zip(OUTCOMES, row, strict=True))
        return StageCounts(stage=name, entered=sum(by.values()), **by)

    def failure_kinds(self) -> list[FailureKind]:
        """Failures by stage and class, the most frequent first, with an example of each; those of
        parts that their items are done without by themselves."""
        return self._ended_ill("failed")

    def drops(self) -> list[FailureKind]:
        """The same of what was dropped."""
        return self._ended_ill("dropped")

    def _ended_ill(self, outcome: Literal["failed", "dropped"]) -> list[FailureKind]:
        rows = self._db.execute(
            f"SELECT s.stage, coalesce(s.kind, ''), count(*) AS n, min(i.source), i.id, s.reason,"
            f" {self._gap(outcome)} AS gap FROM stages s JOIN items i ON i.id = s.item{WHOLE}"
            f" WHERE s.outcome = ? AND {self._own('s.')} GROUP BY s.stage, s.kind, gap, {OF_PARTS}"
            f" ORDER BY n DESC, s.stage, s.kind, gap, {OF_PARTS}",
            (outcome,),
        )
        return [
            FailureKind(
                stage,
                kind,
                count,
                ", ".join(filter(None, (shown(source), place_of(id_)))),
                shown_in(reason or ""),
                of_parts=bool(place_of(id_)),
                is_gap=bool(gap),
            )
            for stage, kind, count, source, id_, reason, gap in rows
        ]

    def _gap(self, outcome: str) -> str:
        """The condition for parts that ended with this outcome, and that their items lack."""
        return GAP if outcome == "failed" and self._knows_parts() else "0"

    def examples(
        self, outcome: Literal["failed", "dropped"], of: FailureKind, most: int
    ) -> list[Example]:
        """Up to `most` of the items, or parts, that a stage ended so."""
        rows = self._db.execute(
            "SELECT i.source, i.id, s.reason, (SELECT a.traceback FROM attempts a"
            " WHERE a.item = s.item AND a.stage = s.stage ORDER BY a.id DESC LIMIT 1)"
            f" FROM stages s JOIN items i ON i.id = s.item{WHOLE}"
            f" WHERE s.stage = ? AND s.outcome = ? AND coalesce(s.kind, '') = ? AND"
            f" {self._own('s.')} AND {self._gap(outcome)} = ? AND {OF_PARTS} = ? LIMIT ?",
            (of.stage, outcome, of.kind, of.is_gap, of.of_parts, most),
        )
        return [
            Example(shown(source), place_of(id_), shown_in(reason or ""), trace and shown_in(trace))
            for source, id_, reason, trace in rows
        ]

    def attempts(self, after: int, besides: Collection[int] = ()) -> Iterator[EndedAttempt]:
        """The attempts numbered in `besides`, then all with a number over `after`; read lazily."""
        rows = self._db.execute(
            "SELECT a.id, a.run, a.item, i.source, a.stage, a.worker, a.started, a.ended, a.outcome"
            " FROM (SELECT value AS id FROM json_each(?) UNION ALL SELECT id FROM attempts"
            " WHERE id > ?) AS chosen JOIN attempts a ON a.id = chosen.id"
            " JOIN items i ON i.id = a.item",
            (json.dumps(sorted(besides)), after),
        )
        return (
            EndedAttempt(id_, run, item, shown(source), *rest)
            for id_, run, item, source, *rest in rows
        )

    def latest_run(self) -> RunRecord:
        """What the latest run did."""
        (run,) = self._db.execute("SELECT max(id) FROM runs").fetchone()
        rows = self._db.execute(
            "SELECT item, stage, started, ended, outcome FROM attempts WHERE run = ? ORDER BY id",
            (run,),
        )
        attempts = [AttemptRecord(*row) for row in rows]
        memory = max((sample.memory for _, sample in self.samples(run)), default=None)
        return RunRecord(attempts, memory)

    def last_sign(self, run: int) -> float | None:
        """Time of a run's last entry for an attempt or a sample; None if it has none."""
        rows = self._db.execute(
            "SELECT coalesce(ended, started) FROM attempts WHERE run = ?"
            " ORDER BY id DESC LIMIT 100",
            (run,),
        )
        times = [time for (time,) in rows]
        times += [sample.time for _, sample in self.samples(run, newest=1)]
        return max(times, default=None)

    def processor_share(self, run: int) -> float | None:
        """The used share of the cores' time in a run, 0 to 1; None where it was not measured."""
        samples = self.samples(run)
        return samples[-1][1].processor_since(samples[0][1]) if samples else None

    def samples(self, run: int, newest: int | None = None) -> list[tuple[int, Sample]]:
        """A run's samples with their ticks, in order; with `newest`, at most so many, the latest.
        Empty where an older version wrote the ledger."""
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'samples'").fetchone():
            return []
        limit = -1 if newest is None else newest
        rows = self._db.execute(
            "SELECT tick, time, cores, processor, memory, free_disk FROM samples WHERE run = ?"
            " ORDER BY tick DESC LIMIT ?",
            (run, limit),
        ).fetchall()
        since = rows[-1][0] if rows else 0
        pools: dict[int, list[PoolStatistics]] = {row[0]: [] for row in rows}
        there = columns_of(self._db, "pool_samples")
        columns = [name for name in POOL_COLUMNS if name in there]
        for tick, *values in self._db.execute(
            f"SELECT tick, {', '.join(columns)} FROM pool_samples WHERE run = ? AND tick >= ?",
            (run, since),
        ):
            told = zip(columns, values, strict=True)
            measured = {name: value for name, value in told if value is not None}
            pools.setdefault(tick, []).append(PoolStatistics(**measured))
        return [
            (tick, Sample(time, cores, processor, memory, free_disk, pools[tick]))
            for tick, time, cores, processor, memory, free_disk in reversed(rows)
        ]

    def drop_kinds(self) -> set[str]:
        """The classes of dropped items."""
        rows = self._db.execute("SELECT DISTINCT kind FROM stages WHERE outcome = 'dropped'")
        return {kind for (kind,) in rows if kind}

    def holds(self) -> list[Hold]:
        """The holds of pending items at their last attempt; waits are counted from now."""
        if "gate" not in columns_of(self._db, "attempts"):
            return []
        rows = self._db.execute(
            "SELECT a.gate, a.message, max(a.due), count(*) FROM stages s JOIN attempts a"
            " ON a.id = (SELECT max(id) FROM attempts WHERE item = s.item AND stage = s.stage)"
            " WHERE s.outcome = 'pending' AND a.outcome IN ('throttled', 'retried')"
            " AND a.due IS NOT NULL GROUP BY a.gate"
        )
        now = time.time()
        return join_holds(
            Hold(gate, reason or "", max(0.0, due - now), items)
            for gate, reason, due, items in rows
        )

    def pending_items(self) -> Iterator[Job]:
        """The items that have not ended, as jobs with their ids; read lazily, ordered by id."""
        after = ""
        while rows := self._db.execute(
            f"SELECT id, source, {self._parameters()} FROM items"
            f" WHERE outcome = 'pending' AND id > ? AND {self._whole()} ORDER BY id LIMIT 500",
            (after,),
        ).fetchall():
            for row in rows:
                yield known_job(*row)
            after = rows[-1][0]

    def item_record(self, id_: str) -> ItemRecord | None:
        """The item of this id; None where there is none."""
        return next(self.item_records(id_), None)

    def item_records(self, only: str | None = None) -> Iterator[ItemRecord]:
        """Every item, or the one of this id, ordered by id, read lazily."""
        rows = self._db.execute(
            f"SELECT i.id, i.source, {self._parameters()}, i.parent, i.outcome,"
            f" (SELECT max(expanded) FROM stages s WHERE s.item = i.id), {self._gaps()},"
            " s.stage, s.reason, s.kind, s.retryable"
            " FROM items i LEFT JOIN stages s ON s.item = i.id AND s.outcome = i.outcome"
            f" AND i.outcome IN ('dropped', 'failed') WHERE {self._whole('i.')}"
            f"{'' if only is None else ' AND i.id = ?'} ORDER BY i.id, s.stage",
            () if only is None else (only,),
        )
        last = None
        for id_, source, parameters, parent, outcome, expanded, gaps, *ending in rows:
            stage, reason, kind, retryable = ending
            if id_ == last:
                continue  # several stages ended the item this way: the first one counts
            last = id_
            yield ItemRecord(
                id=id_,
                source=shown(source),
                folder=Item.at(self.workdir, source, id_).folder,
                parent=parent,
                outcome=outcome,
                stage=stage,
                reason=reason and shown_in(reason),
                kind=kind,
                expanded=expanded,
                parameters=Parameters(parameters or ""),
                gaps=gaps,
                retryable=bool(retryable),
            )

    def _gaps(self) -> str:
        """The number of failed parts of the item `i`, if it is done."""
        if not self._knows_parts():
            return "0"
        return (
            "iif(i.outcome = 'done', (SELECT count(*) FROM items p WHERE p.id > i.id || '/'"
            " AND p.id < i.id || '0' AND p.outcome = 'failed'), 0)"
        )

    def _knows_parts(self) -> bool:
        """Whether the ledger may have parts; an older one has no columns for them."""
        return "split" in columns_of(self._db, "items")

    def _whole(self, table: str = "") -> str:
        """The condition for rows of items that are no parts."""
        return f"{table}split IS NULL" if self._knows_parts() else "1"

    def _own(self, table: str = "") -> str:
        """The condition for rows of stages that took place with the item itself: not those for what
        its parts came to."""
        return f"{table}gaps IS NULL" if self._knows_parts() else "1"

    def _parameters(self) -> str:
        """The column of items that holds them; an older ledger has none."""
        return "parameters" if "parameters" in columns_of(self._db, "items") else "NULL"

    def audit(self, pipeline: Pipeline, optional: frozenset[str]) -> list[str]:
        """Check that every item and part of the last run is accounted for, as `Audit` says; returns
        a sentence for each discrepancy."""
        return Audit(self._db, pipeline, optional, knows_parts=self._knows_parts()).findings()


def read_item(workdir: Path, id_: str) -> ItemRecord | None:
    """The item of this id, as the ledger of `workdir` has it now; None where there is none."""
    with LedgerReader(workdir) as reader:
        return reader.item_record(id_)
