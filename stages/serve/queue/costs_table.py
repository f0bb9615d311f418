"""What the jobs of each caller have cost, day by day: a table beside that of the jobs.

A cost is a paid request that was answered, as `max_requests` and dry runs count them. A day is one
of UTC.

What was noted since the last `keep` stands in a file beside, a line a cost with a number: a service
that was killed finds it there. The table has the number of the last line that it counts.
"""

import json
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine import OwnTables

log = logging.getLogger("penstock.serve")

SCHEMA = """
CREATE TABLE IF NOT EXISTS served_costs (
    owner TEXT NOT NULL, day TEXT NOT NULL, paid REAL NOT NULL, PRIMARY KEY (owner, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS served_costs_counted (last INTEGER NOT NULL);
"""

KEPT_DAYS = 32


class CostsTable:
    """The costs of callers. From any thread. What is noted counts at once, and a kill loses none of
    it; a power cut does, until the next `keep`."""

    def __init__(self, tables: OwnTables, file: Path) -> None:
        """`file` has what was noted and not kept. Blocks."""
        self._tables = tables
        self._path = file
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._noted: defaultdict[tuple[str, str], float] = defaultdict(float)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._last = self._counted()
        for number, owner, day, paid in self._lines():
            if number > self._last:
                self._noted[owner, day] += paid
                self._last = number
        self.keep()

    def close(self) -> None:
        with self._lock:
            os.close(self._file)
            self._file = -1

    def note(self, owner: str, paid: float) -> None:
        """Returns at once."""
        day = today()
        with self._lock:
            self._last += 1
            self._noted[owner, day] += paid
            if self._file < 0:  # the service has ended; this one is not charged any more
                return
            try:
                os.write(self._file, f"{json.dumps([self._last, owner, day, paid])}\n".encode())
            except OSError as error:
                log.warning("costs are not noted, and a kill loses them: %s", error)

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
        """Have what was noted stand in the table. Blocks."""
        with self._keeping:
            with self._lock:
                noted, last = dict(self._noted), self._last
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
                    db.execute("DELETE FROM served_costs_counted"),
                    db.execute("INSERT INTO served_costs_counted VALUES (?)", (last,)),
                )
            )
            with self._lock:
                for key, paid in noted.items():
                    self._noted[key] -= paid
                    if not self._noted[key]:
                        del self._noted[key]
                if self._last == last and self._file >= 0:
                    os.ftruncate(self._file, 0)

    def _counted(self) -> int:
        query = "SELECT max(last) FROM served_costs_counted"
        (last,) = self._tables.read(lambda db: db.execute(query).fetchone())
        return int(last or 0)

    def _lines(self) -> Iterator[tuple[int, str, str, float]]:
        for line in self._path.read_bytes().splitlines():
            try:
                number, owner, day, paid = json.loads(line)
                yield int(number), str(owner), str(day), float(paid)
            except (ValueError, TypeError):  # a power cut, or a full disk, left a part of it
                continue


def today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()


def resets() -> datetime:
    """When the day ends."""
    now = datetime.fromtimestamp(time.time(), UTC)
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
