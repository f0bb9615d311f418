"""Every attempt in a ledger, with its cost; None where an older version wrote the ledger."""

from dataclasses import dataclass
from pathlib import Path

from engine.ledger.schema import FILE, columns_of, opened_to_read

COST = ("processor", "delayed", "run_processor", "blocked")
"""Columns that the first ledgers lacked."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt that has ended. Times are seconds since the epoch; `processor`, `delayed`,
    `run_processor` and `blocked` are seconds; `expanded` is the number of items that the item
    produced, None for an ordinary output."""

    id: int
    run: int
    item: str
    stage: str
    worker: int
    started: float
    ended: float
    outcome: str
    processor: float | None
    delayed: float | None
    run_processor: float | None
    blocked: float | None
    expanded: int | None


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The start and end of a run (None if it was killed), and the cores of
    its machine, if known."""

    id: int
    started: float
    ended: float | None
    cores: int | None


def read_attempts(workdir: Path) -> list[PastAttempt]:
    """All attempts that were not interrupted, or only since their item was decided meanwhile, in
    the order in which they began."""
    with opened_to_read(workdir / FILE) as db:
        there = columns_of(db, "attempts")
        cost = ", ".join(f"a.{name}" if name in there else f"NULL AS {name}" for name in COST)
        withdrawn = "a.kind = 'withdrawn'" if "kind" in there else "0"
        rows = db.execute(
            "SELECT a.id, a.run, a.item, a.stage, a.worker, a.started, a.ended, a.outcome,"
            f" {cost}, s.expanded FROM attempts a LEFT JOIN stages s ON s.item = a.item"
            " AND s.stage = a.stage WHERE a.ended IS NOT NULL"
            f" AND (a.outcome != 'interrupted' OR {withdrawn}) ORDER BY a.id"
        )
        return [PastAttempt(*row) for row in rows]


def read_runs(workdir: Path) -> dict[int, RunTimes]:
    """The runs, by number."""
    with opened_to_read(workdir / FILE) as db:
        cores = "cores" if "cores" in columns_of(db, "runs") else "NULL"
        rows = db.execute(f"SELECT id, started, ended, {cores} FROM runs")
        return {row[0]: RunTimes(*row) for row in rows}
