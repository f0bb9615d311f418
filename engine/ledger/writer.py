"""The SQLite ledger of every item in every stage: its entry, its end, every attempt.

WAL mode, one connection that writes, used from one thread at a time. `GroupCommit` gives the run's
tasks an async way in: their concurrent requests are committed in one transaction.
"""

import json
import time
from collections.abc import Mapping, Sequence
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

from engine.contract.errors import WorkFolderError
from engine.contract.item import Item, earlier_id, item_id
from engine.contract.job import Job, Parameters
from engine.ledger.forgetting import Forgetting
from engine.ledger.ingredients_table import IngredientsTable
from engine.ledger.killed_attempts import KilledAttempts
from engine.ledger.part_rows import PartRows
from engine.ledger.records import (
    NOT_ENDED,
    AttemptRow,
    Begun,
    Change,
    End,
    Known,
    Settled,
    known_ends,
    known_job,
)
from engine.ledger.retrying import Retrying
from engine.ledger.schema import POOL_COLUMNS, open_to_write
from engine.telemetry.statistics import Sample

NO_LEVELS: Mapping[str, str] = {}


class Ledger:
    """The ledger of one work folder. Not thread-safe: one caller at a time."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at `path`, made if it is missing.

        Raises WorkFolderError where it is no ledger, or another version's.
        """
        self.path = path
        self._db = open_to_write(path)
        self.killed = KilledAttempts(self._db)
        self.parts = PartRows(self._db)
        self.ingredients = IngredientsTable(self._db)
        self.retrying = Retrying(self._db)
        self.forgetting = Forgetting(self._db)

    def close(self) -> None:
        self._db.close()

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # Runs

    def start_run(
        self,
        pipeline: str,
        settings: Mapping[str, Any],
        versions: Mapping[str, str],
        cores: int | None = None,
        seal: str | None = None,
        levels: Mapping[str, str] = NO_LEVELS,
        *,
        resident: bool = False,
    ) -> int:
        """Record a new run, on a machine with `cores` cores, and return its number. `seal` comes
        from engine/config/trust.py; `levels` are the splitting steps at whose parts steps stand; a
        `resident` run's source need not end.

        Raises WorkFolderError where the folder holds another pipeline's work, or that of a release
        whose steps stood at other levels.
        """
        other = self._db.execute(
            "SELECT pipeline FROM runs WHERE pipeline != ? LIMIT 1", (pipeline,)
        ).fetchone()
        if other:
            raise WorkFolderError(
                f"{self.path.parent} holds the work of pipeline {other[0]!r}; give {pipeline!r} a "
                "folder of its own"
            )
        self._check_levels(levels)
        cursor = self._db.execute(
            "INSERT INTO runs (pipeline, started, settings, versions, cores, seal, resident)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                pipeline,
                time.time(),
                json.dumps(settings, sort_keys=True),
                json.dumps(versions),
                cores,
                seal,
                resident,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _check_levels(self, levels: Mapping[str, str]) -> None:
        """A step whose level has changed would have all of its work redone, and orphans left: any
        of its rows tells at which level it stood."""
        for stage, split in levels.items():
            row = self._db.execute(
                "SELECT item, gaps FROM stages WHERE stage = ? LIMIT 1", (stage,)
            ).fetchone()
            if row is None or bool(split) == ("/" in row[0] or row[1] is not None):
                continue
            now = f"the parts of {split!r}" if split else "whole items"
            raise WorkFolderError(
                f"{self.path.parent} was made by another release, in which stage {stage!r} did not "
                f"yet work on {now}; finish it with that release, or give this one a folder of its "
                "own"
            )

    def begin_run(
        self,
        pipeline: str,
        settings: Mapping[str, Any],
        versions: Mapping[str, str],
        cores: int | None = None,
        seal: str | None = None,
        levels: Mapping[str, str] = NO_LEVELS,
        *,
        resident: bool = False,
    ) -> Begun:
        """Record a new run, as `start_run` does, and the end of killed ones before it."""
        run = self.start_run(pipeline, settings, versions, cores, seal, levels, resident=resident)
        return Begun(
            run,
            self.last_attempt(),
            self.killed.close_before(run),
            self.killed.suspects(),
            self.killed.run_before(run),
        )

    def end_run(self, run: int, outcome: str) -> None:
        """Record the end of a run, and of the attempts that it broke off."""
        self.killed.break_off(run)
        self._db.execute(
            "UPDATE runs SET ended = ?, outcome = ? WHERE id = ?", (time.time(), outcome, run)
        )

    def note_finish(self, run: int) -> None:
        """Record that the run, which goes on, has made the results of all items."""
        self._db.execute("UPDATE runs SET finished = ? WHERE id = ?", (time.time(), run))

    # Items

    def find(self, item: Item, run: int) -> tuple[Item, bool]:
        """The item under its id in this ledger, and whether its address is a new one.

        Two addresses that differ only in their signatures have one id, so an address with a new
        signature is found again. A list that names both may still mean two items: the second of
        them gets a number behind its id. An item that the first versions entered keeps its old id.
        """
        if item.id != item_id(item.source):
            return item, False  # a stage, or the ledger, chose the id
        earlier = earlier_id(item.source)
        if earlier != item.id and self._look(earlier) is not None:
            return _named(item, earlier), False
        free: Item | None = None
        for number in count(1):
            named = item if number == 1 else _named(item, f"{item.id}-{number}")
            row = self._look(named.id)
            if row is None:
                return free or named, free is not None
            source, entered_run = row
            if source == item.source:
                return named, False
            if entered_run != run and free is None:
                free = named
        raise AssertionError("unreachable")

    def _look(self, id_: str) -> tuple[str, int] | None:
        row: tuple[str, int] | None = self._db.execute(
            "SELECT source, entered_run FROM items WHERE id = ?", (id_,)
        ).fetchone()
        return row

    def admit(self, item: Item, parent: str | None, run: int) -> dict[str, Known] | None:
        """Enter `item` into this run; returns the known state of its stages, by name.

        None if it has already entered in this run: a list may name an item twice.
        """
        if parent is not None:
            self._db.execute("INSERT OR IGNORE INTO expansions VALUES (?, ?)", (parent, item.id))
        row = self._db.execute("SELECT entered_run FROM items WHERE id = ?", (item.id,)).fetchone()
        if row is not None and row[0] == run:
            self._db.execute("UPDATE items SET used = ? WHERE id = ?", (time.time(), item.id))
            return None
        self._db.execute(
            "INSERT INTO items (id, source, parent, entered_run, parameters, used)"
            " VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET entered_run = excluded.entered_run,"
            " source = excluded.source, parameters = excluded.parameters, used = excluded.used",
            (
                item.id,
                item.source.encode("utf-8", "surrogateescape"),
                parent,
                run,
                item.parameters.text or None,
                time.time(),
            ),
        )
        return known_ends(self._db, item.id)

    def has_failed(self, item: str) -> bool:
        """Whether the item of this id is there, and has failed."""
        row = self._db.execute("SELECT outcome FROM items WHERE id = ?", (item,)).fetchone()
        return row is not None and row[0] == "failed"

    def leave(self, item: str) -> None:
        """Record that the item of this id is in no run, nor are its parts: it may enter again."""
        self._db.execute(
            "UPDATE items SET entered_run = 0 WHERE id = ? OR (id > ? AND id < ?)",
            (item, f"{item}/", f"{item}0"),
        )

    def renew(self, item: str, stages: Sequence[str]) -> None:
        """Record that the item of this id has ended at these stages no longer, and is in no run."""
        self._forget(item, stages)
        self.leave(item)

    def reopen(self, item: Item) -> None:
        """Record that the item or part, which an earlier run may have ended, has not ended."""
        self._end_item(item.id, "pending")

    def standing(self, item: str) -> tuple[Settled | None, Parameters]:
        """The outcome of the item of this id, None if it has not ended, and its parameters."""
        outcome, parameters = self._db.execute(
            "SELECT outcome, parameters FROM items WHERE id = ?", (item,)
        ).fetchone()
        return None if outcome == "pending" else outcome, Parameters(parameters or "")

    def apply(self, change: Change, run: int) -> None:
        """Write an item's change, as a whole. No other method writes the
        ends of items and stages."""
        id_ = change.item.id
        if change.ended is not None:
            self._settle(id_, change.ended, run)
        elif change.entering:  # an earlier run may have ended the item
            self._end_item(id_, "pending")
        for end in change.restored:
            self._settle(id_, end, run)
        self._forget(id_, change.withdrawn)
        for stage in change.entering:
            self._enter(id_, stage, run)
        self._forget(id_, change.void)
        if change.void_above:
            assert change.item.parent is not None
            self._forget(change.item.parent.id, change.void_above)
        for stage in change.discardable:
            self._db.execute(
                "UPDATE stages SET discarded = 1 WHERE item = ? AND stage = ?", (id_, stage)
            )
        self.parts.discard(id_, change.discardable_in_parts)
        self._forget(id_, change.obsolete)
        if change.outcome is not None:
            self._end_item(id_, change.outcome)
        if change.outcome in ("dropped", "failed"):
            self.parts.withdraw(id_)

    def _enter(self, item: str, stage: str, run: int) -> None:
        self._db.execute(
            "INSERT INTO stages (item, stage, outcome, run) VALUES (?, ?, 'pending', ?)"
            " ON CONFLICT (item, stage) DO UPDATE SET outcome = 'pending', fingerprint = NULL,"
            " kind = NULL, reason = NULL, retryable = 0, expanded = NULL, discarded = 0,"
            " parts = NULL, gaps = NULL, run = excluded.run",
            (item, stage, run),
        )

    def _settle(self, item: str, end: End, run: int) -> None:
        failure = end.failure
        self._db.execute(
            "INSERT INTO stages"
            " (item, stage, outcome, fingerprint, kind, reason, retryable, expanded, parts, gaps,"
            " run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (item, stage) DO UPDATE SET"
            " outcome = excluded.outcome, fingerprint = excluded.fingerprint,"
            " kind = excluded.kind, reason = excluded.reason, retryable = excluded.retryable,"
            " expanded = excluded.expanded, parts = excluded.parts, gaps = excluded.gaps,"
            " discarded = 0, run = excluded.run",
            (
                item,
                end.stage,
                end.outcome,
                end.fingerprint,
                failure.kind if failure else None,
                failure.reason if failure else None,
                end.retryable,
                end.expanded,
                end.parts,
                end.gaps,
                run,
            ),
        )

    def _forget(self, item: str, stages: Sequence[str]) -> None:
        for stage in stages:
            self._db.execute("DELETE FROM stages WHERE item = ? AND stage = ?", (item, stage))

    def _end_item(self, item: str, outcome: str) -> None:
        change = "UPDATE items SET outcome = ?, used = ? WHERE id = ?"
        self._db.execute(change, (outcome, time.time(), item))

    def children(self, parent: str) -> list[Job]:
        """The items that the list `parent` produced, ordered by id, as jobs with their ids.

        Also those that entered in another way first, and have another `parent`.
        """
        rows = self._db.execute(
            "SELECT id, source, parameters FROM expansions JOIN items ON id = item"
            " WHERE expansions.parent = ? ORDER BY id",
            (parent,),
        )
        return [known_job(*row) for row in rows]

    # Attempts

    def last_attempt(self) -> int:
        """The highest number of an attempt so far, 0 where there is none."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM attempts").fetchone()[0])

    def start_attempt(self, row: AttemptRow) -> None:
        """Insert the row of an attempt, with its end if it has ended meanwhile."""
        ended = row.ended is not None
        self._db.execute(
            "INSERT INTO attempts (id, run, item, stage, worker, attempt, started, ended, outcome,"
            " kind, message, traceback, processor, delayed, run_processor, due, gate,"
            " blocked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.id,
                row.run,
                row.item,
                row.stage,
                row.worker,
                row.attempt,
                row.started,
                *(row.how_it_ended() if ended else NOT_ENDED),
            ),
        )
        row.whole = ended

    def end_attempt(self, row: AttemptRow) -> None:
        """Write the end of an attempt whose row was inserted before."""
        if row.whole:
            return
        self._db.execute(
            "UPDATE attempts SET ended = ?, outcome = ?, kind = ?, message = ?,"
            " traceback = ?, processor = ?, delayed = ?, run_processor = ?, due = ?, gate = ?,"
            " blocked = ? WHERE id = ?",
            (*row.how_it_ended(), row.id),
        )

    # Samples

    def add_sample(self, run: int, tick: int, sample: Sample) -> None:
        """Record a sample of the run; `tick` counts up within a run."""
        self._db.execute(
            "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                tick,
                sample.time,
                sample.cores,
                sample.processor,
                sample.memory,
                sample.free_disk,
            ),
        )
        self._db.executemany(
            f"INSERT OR REPLACE INTO pool_samples (run, tick, {', '.join(POOL_COLUMNS)})"
            f" VALUES (?, ?{', ?' * len(POOL_COLUMNS)})",
            [(run, tick, *attrgetter(*POOL_COLUMNS)(pool)) for pool in sample.pools],
        )

    def thin_samples(self, run: int, stride: int) -> None:
        """Keep those samples of the run whose ticks are multiples of `stride`."""
        for table in ("samples", "pool_samples"):
            self._db.execute(f"DELETE FROM {table} WHERE run = ? AND tick % ? != 0", (run, stride))


def _named(item: Item, id_: str) -> Item:
    return item.child(item.source, id_, item.parameters)
