"""The webhooks that are due: a table beside that of the jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection

from engine import OwnTables
from stages.serve.queue.steady import steady_time

SCHEMA = """
CREATE TABLE IF NOT EXISTS served_calls (
    job TEXT PRIMARY KEY, owner TEXT NOT NULL, url TEXT NOT NULL, since REAL, due REAL,
    tries INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS served_calls_due ON served_calls (due) WHERE due IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class DueCall:
    """A webhook that is due. `since` is when its job ended, in the steady time; `tries` is
    the number of calls that did not go well."""

    job: str
    owner: str
    url: str
    since: float
    tries: int


class CallsTable:
    """The webhooks of jobs; what a method has written is on the disk when it returns. All block."""

    def __init__(self, tables: OwnTables) -> None:
        self._tables = tables

    def due(self, now: float, most: int) -> list[DueCall]:
        rows = self._tables.read(
            lambda db: db.execute(
                "SELECT job, owner, url, since, tries FROM served_calls WHERE due <= ?"
                " ORDER BY due LIMIT ?",
                (now, most),
            ).fetchall()
        )
        return [DueCall(*row) for row in rows]

    def put_off(self, call: DueCall, due: float) -> None:
        """It did not go well, and is to be made again."""
        self._do(
            lambda db: db.execute(
                "UPDATE served_calls SET due = ?, tries = tries + 1 WHERE job = ?", (due, call.job)
            )
        )

    def done(self, call: DueCall) -> None:
        self._do(lambda db: db.execute("DELETE FROM served_calls WHERE job = ?", (call.job,)))

    def give_up(self, call: DueCall) -> None:
        """It is not made again."""
        self.done(call)

    def _do(self, work: Callable[[Connection], object]) -> None:
        self._tables.write(work)


def note_call(db: Connection, job: str, owner: str, url: str) -> None:
    """A job has this webhook: within the transaction that accepts the job."""
    db.execute("INSERT INTO served_calls (job, owner, url) VALUES (?, ?, ?)", (job, owner, url))


def have_called(db: Connection, job: str) -> None:
    """The job has ended: its webhook is due, within the transaction that says so."""
    now = steady_time()
    db.execute("UPDATE served_calls SET since = ?, due = ? WHERE job = ?", (now, now, job))
