"""Ledgers of release 0.1.0: read as they are, and brought up to date by whoever writes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.ledger.forgetting import has_results, read_old_items
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE, SCHEMA_VERSION, columns_of, opened_to_read
from engine.ledger.writer import Ledger

FIRST = """
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
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, item TEXT NOT NULL, stage TEXT NOT NULL,
    worker INTEGER NOT NULL, attempt INTEGER NOT NULL, started REAL NOT NULL, ended REAL,
    outcome TEXT, error_class TEXT, message TEXT, traceback TEXT
);
CREATE TABLE samples (
    run INTEGER NOT NULL, tick INTEGER NOT NULL, time REAL NOT NULL, cores INTEGER NOT NULL,
    processor REAL NOT NULL, memory INTEGER NOT NULL, free_disk INTEGER NOT NULL,
    PRIMARY KEY (run, tick)
) WITHOUT ROWID;
CREATE TABLE pool_samples (
    run INTEGER NOT NULL, tick INTEGER NOT NULL, stage, workers, queue, waiting, parked, in_hand,
    done, dropped, failed, retried, throttled, busy, starved, blocked, worker_seconds, attempts,
    PRIMARY KEY (run, tick, stage)
) WITHOUT ROWID;
INSERT INTO runs VALUES (1, 'crawl', 10.0, 20.0, 'done', '{}', '{}');
INSERT INTO items VALUES ('a', 'https://example.com/a', NULL, 1, 'failed');
INSERT INTO stages VALUES ('a', 'fetch', 'failed', 'f', 'gone', 'it is gone', 0, NULL, 0, 1);
INSERT INTO attempts VALUES (1, 1, 'a', 'fetch', 1, 1, 10.0, 11.0, 'failed', 'gone', 'why', NULL);
INSERT INTO samples VALUES (1, 0, 12.0, 2, 0.5, 1000, 2000);
INSERT INTO pool_samples VALUES
    (1, 0, 'fetch', 4, 8, 1, 7, 2, 0, 0, 1, 0, 0, 1.0, 2.0, 0.0, 4.0, 1);
PRAGMA user_version = 1;
"""
"""What the first release made."""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript(FIRST)
    return tmp_path


def test_a_first_ledger_is_read_as_it_is(first: Path) -> None:
    before = (first / FILE).read_bytes()
    with LedgerReader(first) as reader:
        ((_, sample),) = reader.samples(1)
        assert [(pool.held, pool.needs) for pool in sample.pools] == [(7, "")]
        assert [run.resident for run in reader.runs()] == [False]
        (failure,) = reader.failure_kinds()
        assert (failure.kind, failure.of_parts, failure.is_gap) == ("gone", False, False)
        assert [example.place for example in reader.examples("failed", failure, 5)] == [""]
        assert [record.gaps for record in reader.item_records()] == [0]
        assert (reader.gaps(), reader.part_counts().entered, reader.drops()) == (0, 0, [])
    with opened_to_read(first / FILE) as db:
        assert db.execute("SELECT kind FROM attempts").fetchall() == [("gone",)]
    assert (first / FILE).read_bytes() == before


def test_who_writes_brings_a_first_ledger_up_to_date(first: Path) -> None:
    for _ in range(2):  # the second time there is nothing to do
        Ledger(first / FILE).close()
        with opened_to_read(first / FILE) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
            assert "error_class" not in columns_of(db, "attempts")
            assert db.execute("SELECT kind, message FROM attempts").fetchall() == [("gone", "why")]
            assert db.execute("SELECT held FROM pool_samples").fetchall() == [(7,)]
    with LedgerReader(first) as reader:
        ((_, sample),) = reader.samples(1)
        assert [pool.held for pool in sample.pools] == [7]


def test_what_is_old_in_it_is_known_by_its_attempts(first: Path) -> None:
    """It does not say when an item was last asked for; the attempt at it ended at 11.0."""
    assert read_old_items(first, before=11.5) == ["a"]
    assert read_old_items(first, before=10.5) == []
    assert has_results(first)
