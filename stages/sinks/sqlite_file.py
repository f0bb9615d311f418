"""The SQLite file of scenes: its tables, and how it is opened.

    videos    one row a video: its generation, its document, and the turn that wrote it
    scenes    one row a scene: its times and its record
    words     the texts of the scenes by column, for full-text search; a rowid is a scene's key
    facets    which text, by its digest, a scene has in a column
    vectors   what a model made of a text, by the text's digest
    models    how to make such vectors, by the model's name; the one used last is searched by
    turns     the last turn that was given to a writer
    gone      the turns in which videos were taken out, by digests of their ids

One file with a rollback journal: it may be copied, and read on a disk that cannot be written. What
a process that was killed had begun is taken back by whoever opens the file next.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine import StopRun, UsageError

APPLICATION = 0x70656E73
"""Says whose database the file is: "pens"."""

VERSION = 1

BUSY_SECONDS = 60.0
"""How long a writer waits for the others."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS videos (
    id TEXT PRIMARY KEY, generation TEXT NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scenes (
    key INTEGER PRIMARY KEY, video TEXT NOT NULL REFERENCES videos, scene INTEGER NOT NULL,
    begins REAL NOT NULL, ends REAL NOT NULL, record TEXT NOT NULL, UNIQUE (video, scene)
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    said, seen, heard, described, tokenize = "porter unicode61 remove_diacritics 2"
);
CREATE TABLE IF NOT EXISTS facets (
    scene INTEGER NOT NULL, facet TEXT NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (scene, facet)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS facets_by_digest ON facets (digest);
CREATE TABLE IF NOT EXISTS vectors (
    model TEXT NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models (
    name TEXT PRIMARY KEY, made_by TEXT NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""

TURNS = """
BEGIN IMMEDIATE;
ALTER TABLE videos ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
CREATE TABLE turns (given INTEGER NOT NULL);
INSERT INTO turns VALUES (0);
COMMIT;
"""
"""Apart from the other tables: a file that was made without it gets it."""

GONE = """
BEGIN IMMEDIATE;
CREATE TABLE gone (name BLOB PRIMARY KEY, turn INTEGER NOT NULL) WITHOUT ROWID;
COMMIT;
"""
"""The same."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors about the file into one line: StopRun for a full disk, else
    UsageError."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of ours
    except sqlite3.DatabaseError as error:
        told = str(error)
        if "is full" in told:
            raise StopRun(f"{path}: the disk is full; make room and run again") from error
        if "locked" in told:
            raise UsageError(
                f"{path} is locked by another process for over {BUSY_SECONDS:.0f} s; end that, "
                "and try again"
            ) from error
        if "no such module" in told:
            raise UsageError(
                "this Python's SQLite has no full-text search (FTS5); use one that has"
            ) from error
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise  # a mistake of ours
        if "malformed" in told or "not a database" in told:
            raise UsageError(
                f"{path} is no database, or is damaged: {told}; delete it, and the next run "
                "writes it anew"
            ) from error
        raise UsageError(f"{path} cannot be used: {told}") from error


def open_to_write(path: Path) -> sqlite3.Connection:
    """The database at `path`, made if it is missing. Raises as `explained` says."""
    with explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        db = _connect(path, "rwc")
        try:
            _check(db, path)
            if _version(db) != VERSION:
                db.executescript(SCHEMA)
            _add(db, "turns", TURNS)
            _add(db, "gone", GONE)
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")  # what is taken out is overwritten
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """The database at `path` for the length of the block, as it is at its beginning. Raises as
    `explained` says, and UsageError where there is none."""
    if not path.is_file():
        raise UsageError(f"{path} is not there")
    # Only who may write can take back what a process that was killed had begun.
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    with explained(path), closing(_connect(path, mode)) as db:
        _check(db, path)
        db.execute("PRAGMA query_only = ON")
        if _version(db) != VERSION:
            raise UsageError(f"{path} is empty: nothing has been written to it yet")
        db.execute("BEGIN")
        yield db


def _add(db: sqlite3.Connection, table: str, script: str) -> None:
    """Make the table by the script, where it is missing."""
    try:
        if not _has(db, table):
            db.executescript(script)
    except sqlite3.OperationalError:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if not _has(db, table):  # else another process was quicker
            raise


def _has(db: sqlite3.Connection, table: str) -> bool:
    found = db.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return bool(found[0])


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Raises UsageError for another program's database, and one of another version."""
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise UsageError(f"{path} is another program's database; name another file")
    if _version(db) not in (0, VERSION):
        raise UsageError(f"{path} was written by another version of Penstock; use that one")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
