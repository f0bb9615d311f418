"""Every attempt in a ledger, with its cost; None where an older version wrote the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.ledger.records import Settled
from engine.ledger.schema import FILE, columns_of, opened_to_read

COST = ("processor", "delayed", "run_processor")
"""Columns that the first ledgers lacked."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt that has ended. Times are seconds since the epoch; `processor`, `delayed` and
    `run_processor` are seconds; `expanded` is the number of items that the item produced, None for
    an ordinary output."""

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
    """All attempts that were not interrupted, in the order in which they began."""
    with opened_to_read(workdir / FILE) as db:
        there = columns_of(db, "attempts")
        cost = ", ".join(f"a.{name}" if name in there else f"NULL AS {name}" for name in COST)
        rows = db.execute(
            "SELECT a.id, a.run, a.item, a.stage, a.worker, a.started, a.ended, a.outcome,"
            f" {cost}, s.expanded FROM attempts a LEFT JOIN stages s ON s.item = a.item"
            " AND s.stage = a.stage WHERE a.ended IS NOT NULL AND a.outcome != 'interrupted'"
            " ORDER BY a.id"
        )
        return [PastAttempt(*row) for row in rows]


def read_runs(workdir: Path) -> dict[int, RunTimes]:
    """The runs, by number."""
    with opened_to_read(workdir / FILE) as db:
        cores = "cores" if "cores" in columns_of(db, "runs") else "NULL"
        rows = db.execute(f"SELECT id, started, ended, {cores} FROM runs")
        return {row[0]: RunTimes(*row) for row in rows}


def read_ends(workdir: Path) -> dict[str, tuple[str, Settled]]:
    """The source and the outcome of each item that has ended, by its id."""
    with opened_to_read(workdir / FILE) as db:
        rows: Sequence[tuple[str, str, Settled]] = db.execute(
            "SELECT id, source, outcome FROM items WHERE outcome != 'pending'"
        ).fetchall()
        return {id_: (source, outcome) for id_, source, outcome in rows}
