"""The ledger's file: its tables, and how it is opened, made and migrated."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from engine.contract.errors import WorkFolderError
from engine.ledger.errors import explained, is_explained
from engine.telemetry.statistics import PoolStatistics

FILE = "penstock.db"

SCHEMA_VERSION = 3

READABLE = (0, 1, 2, SCHEMA_VERSION)
"""Versions that can be read, and brought up to date: 0 is an empty file. An older Penstock would
take parts for items, so a ledger that may have some says so by its version."""

FIRST_VERSION = 1
"""The ledgers of release 0.1.0, brought up to date by the first run that writes to them."""

RENAMED = {"attempts": {"error_class": "kind"}, "pool_samples": {"parked": "held"}}
"""Columns that FIRST_VERSION had under other names. An older Penstock would write to the old ones,
so a ledger that has the new ones says so by its version, and that Penstock leaves it alone."""

SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, started REAL NOT NULL, ended REAL,
    outcome TEXT, settings TEXT NOT NULL, versions TEXT NOT NULL
);
CREATE TABLE items (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, parent TEXT, entered_run INTEGER NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'pending'
) WITHOUT ROWID;
CREATE TABLE expansions (
    parent TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (parent, item)
) WITHOUT ROWID;
CREATE TABLE stages (
    item TEXT NOT NULL, stage TEXT NOT NULL, outcome TEXT NOT NULL, fingerprint TEXT,
    kind TEXT, reason TEXT, retryable INTEGER NOT NULL DEFAULT 0, expanded INTEGER,
    discarded INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL, PRIMARY KEY (item, stage)
) WITHOUT ROWID;
CREATE INDEX stages_by_outcome ON stages (stage, outcome, kind);
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, item TEXT NOT NULL, stage TEXT NOT NULL,
    worker INTEGER NOT NULL, attempt INTEGER NOT NULL, started REAL NOT NULL, ended REAL,
    outcome TEXT, kind TEXT, message TEXT, traceback TEXT
);
CREATE INDEX attempts_by_item ON attempts (item, stage);
CREATE INDEX attempts_unended ON attempts (run) WHERE ended IS NULL;
"""

POOL_COLUMNS = tuple(
    field.name for field in fields(PoolStatistics) if field.metadata.get("kept", True)
)

SAMPLES = f"""
CREATE TABLE IF NOT EXISTS samples (
    run INTEGER NOT NULL, tick INTEGER NOT NULL, time REAL NOT NULL, cores INTEGER NOT NULL,
    processor REAL NOT NULL, memory INTEGER NOT NULL, free_disk INTEGER NOT NULL,
    PRIMARY KEY (run, tick)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pool_samples (
    run INTEGER NOT NULL, tick INTEGER NOT NULL, {", ".join(POOL_COLUMNS)},
    PRIMARY KEY (run, tick, stage)
) WITHOUT ROWID;
"""
"""Runs over time; an older ledger gains these tables with its next run."""

INGREDIENTS = """
CREATE TABLE IF NOT EXISTS ingredients (
    stage TEXT PRIMARY KEY, latest TEXT NOT NULL, taken_up TEXT
) WITHOUT ROWID;
"""
"""What each stage's outputs are made from beside its settings, as of the latest run; `taken_up` is
what those of a release that did not record it count as made from."""


ADDED = {
    "runs": {"cores": "INTEGER", "seal": "TEXT", "finished": "REAL", "resident": "INTEGER"},
    "items": {
        "used": "REAL",
        "parameters": "TEXT",
        "split": "TEXT",
        "position": "INTEGER",
        "made": "TEXT",
        "content": "TEXT",
    },
    "stages": {"parts": "INTEGER", "gaps": "INTEGER"},
    "attempts": {
        "processor": "REAL",
        "delayed": "REAL",
        "run_processor": "REAL",
        "due": "REAL",
        "gate": "TEXT",
        "blocked": "REAL",
        "alone": "INTEGER",
        "killed": "INTEGER",
    },
    "pool_samples": dict.fromkeys(POOL_COLUMNS, ""),
}
"""Columns that the first ledgers lacked, NULL where nothing was measured, and for an item without
parameters. An item was last `used` when a run was asked for it, or ended it; a run has `finished`
when it last made the results of all items while it went on."""


KILLED = "CREATE INDEX IF NOT EXISTS attempts_killed ON attempts (item, stage) WHERE killed"
"""Finds the attempts that may have killed a run (`killed`); `alone` says that nothing else was in
hand then."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the ledger at `path`. Raises WorkFolderError where it cannot be opened,
    StopRun where the disk is to blame.

    Reading needs only files that can be read, such as on a read-only disk.
    """
    try:
        if not read_only:
            return _connect(path, path, "mode=rwc")
        try:
            return _connect(path, path, "mode=ro")
        except sqlite3.OperationalError:
            if os.access(path.parent, os.W_OK):
                raise
            return _connect_without_writing(path)
    except sqlite3.Error as error:
        raise explained(error, path) from error


def _connect(path: Path, file: Path, how: str) -> sqlite3.Connection:
    """A connection to `file`, the ledger at `path` or a copy of it."""
    db = sqlite3.connect(
        f"{file.resolve().as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        # A file's name need not be UTF-8: its bytes are kept.
        db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        db.execute("PRAGMA busy_timeout = 10000")
        _check_that_it_is_ours(db, path)
        if how == "mode=rwc":
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        else:
            _show_under_new_names(db)
    except BaseException:
        db.close()
        raise
    return db


def _connect_without_writing(path: Path) -> sqlite3.Connection:
    """Read a ledger where SQLite cannot make its shared-memory file, as on a read-only disk.

    SQLite can do without that file if nobody writes and the database file holds everything. If a
    killed run left entries in the write-ahead log, a copy of both files is read.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.is_file() or not log.stat().st_size:
        return _connect(path, path, "immutable=1")
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        copy = Path(folder) / path.name
        for file in (path, log):
            shutil.copyfile(file, copy.with_name(file.name))
        db = _connect(path, copy, "mode=rw")
        db.execute("PRAGMA journal_mode = DELETE")  # one file, readable once deleted
    return db


def _show_under_new_names(db: sqlite3.Connection) -> None:
    """Have queries find the columns of a ledger of FIRST_VERSION, which may only be read, under
    the names of today: a view of this connection's own goes before a table."""
    if _version(db) != FIRST_VERSION:
        return
    db.execute("PRAGMA temp_store = MEMORY")
    for table, names in _renames(db):
        new = ", ".join(f"{old} AS {new}" for old, new in names.items())
        db.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {new} FROM main.{table}")


def _rename(db: sqlite3.Connection) -> None:
    """Bring an older ledger's names up to date, whole or not at all."""
    renames = [
        f"ALTER TABLE {table} RENAME COLUMN {old} TO {new};"
        for table, names in _renames(db)
        for old, new in names.items()
    ]
    db.executescript(f"BEGIN; {' '.join(renames)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _renames(db: sqlite3.Connection) -> Iterator[tuple[str, dict[str, str]]]:
    """The tables that have columns under old names, and what those are called now."""
    for table, names in RENAMED.items():
        there = columns_of(db, table)
        old = {name: new for name, new in names.items() if name in there and new not in there}
        if old:
            yield table, old


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check_that_it_is_ours(db: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if tables and not {"runs", "items", "stages", "attempts"} <= tables:
        raise WorkFolderError(
            f"{path} is another program's database; move it away or choose another work folder"
        )
    if _version(db) not in READABLE:
        raise WorkFolderError(
            f"{path} was written by another version of Penstock; use that one, or choose another "
            "work folder"
        )


@contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the ledger at `path` for the length of the block. Raises as `connect` does,
    also where the ledger turns out damaged within the block."""
    with closing(connect(path, read_only=True)) as db, told(path):
        yield db


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors within the block into messages for a person
    about the ledger at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        if not is_explained(error):
            raise
        raise explained(error, path) from error


def columns_of(db: sqlite3.Connection, table: str) -> set[str]:
    """The columns of `table`: a ledger that is only read may be of an older version."""
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def open_to_write(path: Path) -> sqlite3.Connection:
    """The one connection that writes. Makes a missing ledger, adds what an older one lacks, and
    keeps other users from reading it. Raises WorkFolderError."""
    _keep_private(path)
    db = connect(path)
    try:
        if _version(db) == 0:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif _version(db) != SCHEMA_VERSION:
            _rename(db)
        db.executescript(f"BEGIN; {SAMPLES} {INGREDIENTS} COMMIT;")
        for table, columns in ADDED.items():
            for name in columns.keys() - columns_of(db, table):
                db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
        db.execute(KILLED)
    except sqlite3.Error as error:
        db.close()
        raise explained(error, path) from error
    return db


def _keep_private(path: Path) -> None:
    """Let only the owner read the ledger: addresses and settings in it may hold passwords.

    SQLite gives its files beside the ledger the ledger's permissions. A file system without
    permissions, and another owner's ledger, are left as they are.
    """
    # Open only a new file here: closing an existing one would drop this process's locks on it.
    with suppress(OSError):  # SQLite reports the real problem when it opens the file
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for ending in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(f"{path.name}{ending}").chmod(0o600)
