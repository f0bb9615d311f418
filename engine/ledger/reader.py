"""Reads from the ledger: the state of a run, failures, items, and the audit.

Reading takes no lock that delays a run. Everything read here may be shown: passwords and signatures
are removed from addresses. Only `pending_items` has them, since a run needs them to go on.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from engine.contract.errors import WorkFolderError
from engine.contract.item import Item
from engine.contract.job import Job, Parameters
from engine.contract.pipeline import ItemRecord, Pipeline
from engine.contract.showing import shown, shown_in
from engine.ledger.errors import explained, is_explained
from engine.ledger.records import known_job
from engine.ledger.schema import FILE, POOL_COLUMNS, columns_of, connect
from engine.telemetry.statistics import (
    FailureKind,
    Hold,
    PoolStatistics,
    Sample,
    StageCounts,
    join_holds,
)


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
        seal = "seal" if "seal" in columns_of(self._db, "runs") else "NULL"
        rows = self._db.execute(
            "SELECT id, pipeline, started, ended, outcome, settings, versions,"
            f" {seal} FROM runs ORDER BY id DESC"
        )
        for id_, pipeline, started, ended, outcome, settings, versions, sealed in rows:
            yield RunRow(
                *(id_, pipeline, started, ended, outcome),
                json.loads(settings),
                json.loads(versions),
                sealed,
            )

    def counts(self, stages: Sequence[str]) -> list[StageCounts]:
        """The items that entered each of `stages`, by outcome, over the whole ledger."""
        tally = {
            stage: dict.fromkeys(("done", "dropped", "failed", "pending"), 0) for stage in stages
        }
        rows = self._db.execute("SELECT stage, outcome, count(*) FROM stages GROUP BY 1, 2")
        for stage, outcome, count in rows:
            if stage in tally:
                tally[stage][outcome] = count
        skipped = dict(
            self._db.execute(
                "SELECT stage, count(*) FROM stages WHERE outcome = 'done' AND kind IS NOT NULL"
                " GROUP BY 1"
            ).fetchall()
        )
        return [
            StageCounts(stage, sum(by.values()), **by, skipped=skipped.get(stage, 0))
            for stage, by in tally.items()
        ]

    def item_counts(self) -> StageCounts:
        """The items by their outcome as a whole, over the whole ledger."""
        outcomes = ("done", "dropped", "failed", "pending")
        counts = ", ".join("count(*) FILTER (WHERE outcome = ?)" for _ in outcomes)
        # No index holds the outcomes, so grouping by them would sort all items.
        row = self._db.execute(f"SELECT {counts} FROM items", outcomes).fetchone()
        by = dict(zip(outcomes, row, strict=True))
        return StageCounts(stage="items", entered=sum(by.values()), **by)

    def failure_kinds(self) -> list[FailureKind]:
        """Failures by stage and class, the most frequent first, with an example of each."""
        rows = self._db.execute(
            "SELECT s.stage, s.kind, count(*) AS n, min(i.source), s.reason FROM stages s"
            " JOIN items i ON i.id = s.item WHERE s.outcome = 'failed'"
            " GROUP BY s.stage, s.kind ORDER BY n DESC, s.stage, s.kind"
        )
        return [
            FailureKind(stage, kind, count, shown(source), shown_in(reason))
            for stage, kind, count, source, reason in rows
        ]

    def endings(self, outcome: Literal["failed", "dropped"]) -> list[tuple[str, str, int]]:
        """Stage, class and count of the items with this outcome, the most frequent first."""
        return self._db.execute(
            "SELECT stage, coalesce(kind, ''), count(*) AS n FROM stages WHERE outcome = ?"
            " GROUP BY 1, 2 ORDER BY n DESC, 1, 2",
            (outcome,),
        ).fetchall()

    def examples(
        self, outcome: Literal["failed", "dropped"], stage: str, kind: str, most: int
    ) -> list[tuple[str, str, str | None]]:
        """Sources, reasons and tracebacks of up to `most` items that a stage ended with this
        outcome and class."""
        rows = self._db.execute(
            "SELECT i.source, s.reason, (SELECT a.traceback FROM attempts a WHERE a.item = s.item"
            " AND a.stage = s.stage ORDER BY a.id DESC LIMIT 1) FROM stages s"
            " JOIN items i ON i.id = s.item"
            " WHERE s.stage = ? AND s.outcome = ? AND coalesce(s.kind, '') = ? LIMIT ?",
            (stage, outcome, kind, most),
        )
        return [
            (shown(source), shown_in(reason or ""), traceback and shown_in(traceback))
            for source, reason, traceback in rows
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
            " WHERE outcome = 'pending' AND id > ? ORDER BY id LIMIT 500",
            (after,),
        ).fetchall():
            for row in rows:
                yield known_job(*row)
            after = rows[-1][0]

    def item_records(self) -> Iterator[ItemRecord]:
        """Every item, ordered by id, read lazily."""
        rows = self._db.execute(
            f"SELECT i.id, i.source, {self._parameters()}, i.parent, i.outcome,"
            " (SELECT max(expanded) FROM stages s WHERE s.item = i.id), s.stage, s.reason, s.kind"
            " FROM items i LEFT JOIN stages s ON s.item = i.id AND s.outcome = i.outcome"
            " AND i.outcome IN ('dropped', 'failed') ORDER BY i.id, s.stage"
        )
        last = None
        for id_, source, parameters, parent, outcome, expanded, stage, reason, kind in rows:
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
            )

    def _parameters(self) -> str:
        """The column of items that holds them; an older ledger has none."""
        return "parameters" if "parameters" in columns_of(self._db, "items") else "NULL"

    def audit(self, pipeline: Pipeline, optional: frozenset[str]) -> list[str]:
        """Check that every item of the last run is accounted for; returns a sentence for each
        discrepancy.

        Exactly the items that all predecessors of a stage have ended well (an optional one in any
        way) must have entered the stage, or may have where another stage has decided the item: one
        that is not optional has failed or dropped it. An item that has ended has no stage pending.
        Items that only earlier runs saw may have followed other settings.
        """
        last = "i.entered_run = (SELECT max(id) FROM runs)"
        deciding = [name for name in pipeline.names if name not in optional]
        decided = (
            "EXISTS (SELECT 1 FROM stages d WHERE d.item = i.id"
            " AND d.outcome IN ('dropped', 'failed')"
            f" AND d.stage IN ({', '.join('?' * len(deciding))}))"
        )
        found = []
        for name in pipeline.names:
            conditions, values = ["1"], []
            for before in pipeline.predecessors(name):
                well = (
                    "s.outcome != 'pending' AND s.expanded IS NULL"
                    if before in optional
                    else "s.outcome = 'done' AND s.expanded IS NULL"
                )
                conditions.append(
                    "EXISTS (SELECT 1 FROM stages s"
                    f" WHERE s.item = i.id AND s.stage = ? AND {well})"
                )
                values.append(before)
            due = " AND ".join(conditions)
            entered = "EXISTS (SELECT 1 FROM stages e WHERE e.item = i.id AND e.stage = ?)"
            lost, extra = self._db.execute(
                f"SELECT coalesce(sum(({due}) AND NOT {entered} AND NOT {decided}), 0),"
                f" coalesce(sum(NOT ({due}) AND {entered}), 0) FROM items i WHERE {last}",
                (*values, name, *deciding, *values, name),
            ).fetchone()
            if lost:
                found.append(f"{lost} items should have entered stage {name!r} and did not")
            if extra:
                found.append(f"{extra} items entered stage {name!r} and should not have")
        (open_,) = self._db.execute(
            f"SELECT count(*) FROM items i WHERE {last} AND outcome != 'pending' AND EXISTS"
            " (SELECT 1 FROM stages s WHERE s.item = i.id AND s.outcome = 'pending')"
        ).fetchone()
        if open_:
            found.append(f"{open_} items are recorded as ended with a stage pending")
        return found
