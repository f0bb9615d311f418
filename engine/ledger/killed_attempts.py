"""The ledger's record of attempts that were under way when a run was killed or broke off."""

import sqlite3
import time
from collections.abc import Callable

_CLEARED = (
    "SELECT coalesce(max(id), 0) FROM attempts AS ended WHERE ended.item = attempts.item"
    " AND ended.stage = attempts.stage AND ended.outcome != 'interrupted'"
)
"""The last attempt of the same item and stage that came to an end."""


class KilledAttempts:
    """The part of a `Ledger` for `journey.suspects`; items are given by id. Used like the
    ledger: from one thread at a time, within its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def close_before(self, run: int) -> list[tuple[str, str]]:
        """Mark the unended attempts of the runs before this one, which were killed, as interrupted;
        returns their items and stages."""
        rows = self._db.execute(
            "SELECT item, stage FROM attempts WHERE ended IS NULL AND run < ?", (run,)
        ).fetchall()
        self._db.execute(
            "UPDATE attempts SET ended = started, outcome = 'interrupted'"
            " WHERE ended IS NULL AND run < ?",
            (run,),
        )
        self._db.execute(
            "UPDATE runs SET outcome = 'killed' WHERE ended IS NULL AND id < ?", (run,)
        )
        return rows

    def break_off(self, run: int) -> None:
        """Mark the unended attempts of a run that ends by itself, as when another step does not
        open: nobody has killed it, and no item is suspected."""
        self._db.execute(
            "UPDATE attempts SET ended = ?, outcome = 'interrupted'"
            " WHERE ended IS NULL AND run = ?",
            (time.time(), run),
        )

    def run_before(self, run: int) -> int | None:
        """The number of the run before this one, if that run was killed."""
        row = self._db.execute(
            "SELECT id, outcome FROM runs WHERE id < ? ORDER BY id DESC LIMIT 1", (run,)
        ).fetchone()
        return row[0] if row is not None and row[1] == "killed" else None

    def suspects(self) -> dict[tuple[str, str], int]:
        """The item and stage of each attempt that may have killed a run, and the number of runs
        that died with nothing else in hand. A later attempt that came to an end clears them."""
        found = self._db.execute(
            "SELECT item, stage, coalesce(sum(alone), 0) FROM attempts"
            f" WHERE killed AND id > ({_CLEARED}) GROUP BY item, stage"
        )
        return {(item, stage): deaths for item, stage, deaths in found}

    def deaths(self, item: str, stage: str) -> int:
        """The number of runs that died at this item and stage with nothing else in hand."""
        found = self._db.execute(
            "SELECT coalesce(sum(alone), 0) FROM attempts WHERE killed AND item = ? AND stage = ?"
            f" AND id > ({_CLEARED})",
            (item, stage),
        )
        return int(found.fetchone()[0])

    def mark(self, item: str, stage: str, run: int, number: Callable[[], int]) -> None:
        """Record that this attempt may have killed run `run`. Where the run died before it recorded
        the attempt, the attempt is entered under the next `number`."""
        marked = self._db.execute(
            "UPDATE attempts SET killed = 1 WHERE id = (SELECT max(id) FROM attempts"
            " WHERE item = ? AND stage = ? AND run = ? AND outcome = 'interrupted')",
            (item, stage, run),
        )
        if not marked.rowcount:
            now = time.time()
            self._db.execute(
                "INSERT INTO attempts (id, run, item, stage, worker, attempt, started, ended,"
                " outcome, killed) VALUES (?, ?, ?, ?, 0, 1, ?, ?, 'interrupted', 1)",
                (number(), run, item, stage, now, now),
            )

    def mark_alone(self, attempt: int, alone: bool) -> None:
        """Record whether this attempt is the only one under way."""
        self._db.execute("UPDATE attempts SET alone = ? WHERE id = ?", (alone, attempt))
