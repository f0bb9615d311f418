"""What the jobs of each caller have cost, day by day: a table beside that of the jobs.

A cost is a paid request that was answered, as `max_requests` and dry runs count them. A day is one
of UTC.
"""

import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from engine import OwnTables

SCHEMA = """
CREATE TABLE IF NOT EXISTS served_costs (
    owner TEXT NOT NULL, day TEXT NOT NULL, paid REAL NOT NULL, PRIMARY KEY (owner, day)
) WITHOUT ROWID;
"""

KEPT_DAYS = 32


class CostsTable:
    """The costs of callers. From any thread. What is noted counts at once; it is on the disk after
    the next `keep`."""

    def __init__(self, tables: OwnTables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._noted: defaultdict[tuple[str, str], float] = defaultdict(float)

    def note(self, owner: str, paid: float) -> None:
        """Does not block."""
        with self._lock:
            self._noted[owner, today()] += paid

    def spent(self, owner: str) -> float:
        """What this caller's jobs have cost today. Blocks."""
        day = today()
        with self._keeping:
            row = self._tables.read(
                lambda db: db.execute(
                    "SELECT paid FROM served_costs WHERE owner = ? AND day = ?", (owner, day)
                ).fetchone()
            )
            with self._lock:
                noted = self._noted.get((owner, day), 0.0)
            return noted + (float(row[0]) if row is not None else 0.0)

    def keep(self) -> None:
        """Have what was noted stand on the disk. Blocks."""
        with self._keeping:
            with self._lock:
                noted = dict(self._noted)
            if not noted:
                return
            oldest = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).date().isoformat()
            rows = [(owner, day, paid) for (owner, day), paid in noted.items()]
            self._tables.write(
                lambda db: (
                    db.executemany(
                        "INSERT INTO served_costs VALUES (?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET paid = paid + excluded.paid",
                        rows,
                    ),
                    db.execute("DELETE FROM served_costs WHERE day < ?", (oldest,)),
                )
            )
            with self._lock:
                for key, paid in noted.items():
                    self._noted[key] -= paid
                    if not self._noted[key]:
                        del self._noted[key]


def today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()


def resets() -> datetime:
    """When the day ends."""
    now = datetime.fromtimestamp(time.time(), UTC)
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
