"""The jobs that were accepted: a table in the ledger's file, which is the service's one queue."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, Literal

from engine import Job, OwnTables
from stages.serve.queue.calls_table import SCHEMA as CALLS
from stages.serve.queue.calls_table import CallsTable, have_called, note_call
from stages.serve.queue.costs_table import SCHEMA as COSTS
from stages.serve.queue.costs_table import CostsTable
from stages.serve.queue.steady import by_the_clock

State = Literal["queued", "running", "done", "dropped", "failed", "expired", "cancelled"]

OPEN = ("queued", "running")

SCHEMA = """
CREATE TABLE IF NOT EXISTS served_jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, key TEXT,
    digest TEXT NOT NULL, data TEXT NOT NULL, source TEXT NOT NULL, asked_id TEXT,
    parameters TEXT NOT NULL, priority INTEGER NOT NULL, deadline REAL,
    state TEXT NOT NULL, item TEXT, stage TEXT, reason TEXT,
    gaps INTEGER NOT NULL DEFAULT 0, accepted REAL NOT NULL, ended REAL, result TEXT,
    held TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS served_jobs_keys ON served_jobs (owner, key)
    WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS served_jobs_open ON served_jobs (number)
    WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS served_jobs_of ON served_jobs (owner, number);
"""

IS_OPEN = "state IN ('queued', 'running')"


class KeyReused(Exception):
    """The idempotency key came with another request before."""


class QueueFull(Exception):
    """As many jobs wait as may."""


class QuotaReached(Exception):
    """The caller has as many jobs under way as it may."""


class CostReached(Exception):
    """The caller's jobs have cost as much today as they may."""


@dataclass(frozen=True, slots=True)
class JobAsked:
    """A request for a job: whose it is, its idempotency key, a digest of all that it says, its
    `data` as they came, the job of the run that they ask for, and the address to be called at its
    end."""

    owner: str
    key: str | None
    digest: str
    data: Mapping[str, Any]
    job: Job
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the table has it. Times are seconds since the epoch; a deadline is one of the steady
    time. `item` is None until the run has it; `stage` and `reason` say why it was dropped, or
    failed; `result` says where the whole of what came of it is, if the pipeline has published it;
    `held` says of a list how its items have ended."""

    number: int
    id: str
    owner: str
    data: Mapping[str, Any]
    source: str
    asked_id: str | None
    parameters: str
    priority: int
    deadline: float | None
    state: State
    item: str | None
    stage: str | None
    reason: str | None
    gaps: int
    accepted: float
    ended: float | None
    result: Mapping[str, Any] | None
    held: Mapping[str, Any] | None

    def job(self, handle: object) -> Job:
        """The job for the run."""
        values = json.loads(self.parameters) if self.parameters else {}
        return Job(
            *(self.source, self.asked_id, values),
            again=True,
            priority=self.priority,
            deadline=None if self.deadline is None else by_the_clock(self.deadline),
            handle=handle,
        )

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


COLUMNS = (
    "number, id, owner, data, source, asked_id, parameters, priority, deadline, state, item, stage,"
    " reason, gaps, accepted, ended, result, held"
)


class JobsTable:
    """The jobs in the ledger's file of a work folder. What a method has written is on the disk when
    it returns. All methods block, and may be called by several threads."""

    def __init__(self, workdir: Path) -> None:
        """The jobs that a killed server had in hand are queued again."""
        self._tables = OwnTables(workdir, SCHEMA + CALLS + COSTS)
        self._tables.write(_with_results)
        self.calls = CallsTable(self._tables)
        self.costs = CostsTable(self._tables, workdir / "cache" / "costs.jsonl")
        self._tables.write(
            lambda db: db.execute("UPDATE served_jobs SET state = 'queued' WHERE state = 'running'")
        )

    def close(self) -> None:
        try:
            self.costs.keep()
        finally:
            self.costs.close()
            self._tables.close()

    def accept(
        self,
        asked: JobAsked,
        most: int,
        most_of_owner: int | None,
        most_cost: float | None = None,
    ) -> tuple[JobRow, bool]:
        """The new job that is asked for; or the one that the same request with the same key has
        led to before, and then False.

        Raises KeyReused, QueueFull where `most` jobs are under way, QuotaReached where
        `most_of_owner` are of this caller, CostReached where its jobs have cost `most_cost` today.
        """
        spent = most_cost is not None and self.costs.spent(asked.owner) >= most_cost
        return self._tables.write(lambda db: _accept(db, asked, most, most_of_owner, spent))

    def take(self) -> JobRow | None:
        """The next job, which is running from now on; None where none waits."""
        return self._tables.write(
            lambda db: _one(
                db,
                "UPDATE served_jobs SET state = 'running' WHERE number = (SELECT number"
                f" FROM served_jobs WHERE {IS_OPEN} AND state = 'queued'"
                " ORDER BY priority DESC, number LIMIT 1)"
                f" RETURNING {COLUMNS}",
            )
        )

    def settle(self, row: JobRow) -> bool:
        """Write the end of an open job, as `row` has it; whether it was still open."""
        return self._tables.write(lambda db: _settle(db, row))

    def cancel(self, number: int) -> bool:
        """Have the job be wanted no more; whether it was still open."""
        return self._tables.write(lambda db: _cancel(db, number))

    def find(self, owner: str | None, id_: str) -> JobRow | None:
        """The job of this id, if it is this caller's; of any caller for None."""
        return self._tables.read(
            lambda db: _one(
                db,
                f"SELECT {COLUMNS} FROM served_jobs WHERE id = ? AND coalesce(? = owner, 1)",
                id_,
                owner,
            )
        )

    def listed(
        self, owner: str, state: State | None, before: int | None, limit: int
    ) -> list[JobRow]:
        """A caller's jobs, the latest first, with numbers under `before`."""
        return self._tables.read(
            lambda db: _all(
                db,
                f"SELECT {COLUMNS} FROM served_jobs WHERE owner = ? AND coalesce(state = ?, 1)"
                " AND coalesce(number < ?, 1) ORDER BY number DESC LIMIT ?",
                *(owner, state, before, limit),
            )
        )

    def uploads_in_use(self) -> set[str]:
        """The ids of the uploads that jobs under way have."""
        return self._tables.read(
            lambda db: {
                upload
                for (upload,) in db.execute(
                    f"SELECT json_extract(data, '$.upload') FROM served_jobs WHERE {IS_OPEN}"
                )
                if upload is not None
            }
        )

    def forget(self, before: float) -> int:
        """Forget the jobs that ended before that time, with their idempotency keys, but for those
        whose webhooks are not taken yet; returns their number."""
        return self._tables.write(
            lambda db: (
                db.execute(
                    "DELETE FROM served_jobs WHERE ended < ?"
                    " AND id NOT IN (SELECT job FROM served_calls)",
                    (before,),
                ).rowcount
            )
        )

    def counts(self) -> dict[str, int]:
        """The number of jobs by state."""
        return self._tables.read(
            lambda db: dict(
                db.execute("SELECT state, count(*) FROM served_jobs GROUP BY state").fetchall()
            )
        )


def _with_results(db: Connection) -> None:
    """The table of an earlier release lacks columns for results."""
    there = [name for _, name, *_ in db.execute("PRAGMA table_info(served_jobs)")]
    for name in ("result", "held"):
        if name not in there:
            db.execute(f"ALTER TABLE served_jobs ADD COLUMN {name} TEXT")


def _accept(
    db: Connection, asked: JobAsked, most: int, most_of_owner: int | None, spent: bool
) -> tuple[JobRow, bool]:
    if asked.key is not None:
        before = db.execute(
            f"SELECT digest, {COLUMNS} FROM served_jobs WHERE owner = ? AND key = ?",
            (asked.owner, asked.key),
        ).fetchone()
        if before is not None:
            if before[0] != asked.digest:
                raise KeyReused
            return _row(before[1:]), False
    if _open(db) >= most:
        raise QueueFull
    if most_of_owner is not None and _open(db, asked.owner) >= most_of_owner:
        raise QuotaReached
    if spent:
        raise CostReached
    made = _one(
        db,
        "INSERT INTO served_jobs (id, owner, key, digest, data, source, asked_id, parameters,"
        " priority, deadline, state, accepted)"
        " VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, 'queued', ?)"
        f" RETURNING {COLUMNS}",
        secrets.token_urlsafe(16),
        *(asked.owner, asked.key, asked.digest, json.dumps(asked.data)),
        asked.job.source.encode("utf-8", "surrogateescape"),
        *(asked.job.id, json.dumps(dict(asked.job.parameters)) if asked.job.parameters else ""),
        *(asked.job.priority, asked.job.deadline),
        time.time(),
    )
    assert made is not None
    if asked.webhook is not None:
        note_call(db, made.id, made.owner, asked.webhook)
    return made, True


def _settle(db: Connection, row: JobRow) -> bool:
    told = [json.dumps(one) if one is not None else None for one in (row.result, row.held)]
    changed = db.execute(
        "UPDATE served_jobs SET state = ?, item = ?, stage = ?, reason = ?, gaps = ?, ended = ?,"
        f" result = ?, held = ? WHERE number = ? AND {IS_OPEN}",
        (row.state, row.item, row.stage, row.reason, row.gaps, row.ended, *told, row.number),
    ).rowcount
    if changed:
        have_called(db, row.id)
    return bool(changed)


def _cancel(db: Connection, number: int) -> bool:
    found = db.execute(
        "UPDATE served_jobs SET state = 'cancelled', ended = ?"
        f" WHERE number = ? AND {IS_OPEN} RETURNING id",
        (time.time(), number),
    ).fetchall()
    for (id_,) in found:
        have_called(db, id_)
    return bool(found)


def _open(db: Connection, owner: str | None = None) -> int:
    row = db.execute(
        f"SELECT count(*) FROM served_jobs WHERE {IS_OPEN} AND coalesce(? = owner, 1)", (owner,)
    ).fetchone()
    return int(row[0])


def _one(db: Connection, sql: str, *values: Any) -> JobRow | None:
    found = _all(db, sql, *values)
    return found[0] if found else None


def _all(db: Connection, sql: str, *values: Any) -> list[JobRow]:
    return [_row(row) for row in db.execute(sql, values).fetchall()]


def _row(values: "Row | tuple[Any, ...]") -> JobRow:
    number, id_, owner, data, *rest, result, held = values
    told = (json.loads(one) if one is not None else None for one in (result, held))
    return JobRow(number, id_, owner, json.loads(data), *rest, *told)
