"""`penstock forget` and `prune` in the ledger: every row about an item and its parts goes."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from engine.ledger.schema import FILE, columns_of, opened_to_read


class Forgetting:
    """The part of a `Ledger` that forgets items. Used like the ledger: from one thread at a time,
    within its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def forget(self, item: str) -> None:
        """Delete every row about the item and its parts, and that a list held it, or that it was a
        list. The freed pages are overwritten: addresses may hold passwords."""
        self._db.execute("PRAGMA secure_delete = ON")
        for table, column in (("items", "id"), ("stages", "item"), ("attempts", "item")):
            self._db.execute(
                f"DELETE FROM {table} WHERE {column} = ?1 OR ({column} > ?1 || '/'"
                f" AND {column} < ?1 || '0')",
                (item,),
            )
        self._db.execute("DELETE FROM expansions WHERE item = ?1 OR parent = ?1", (item,))

    def is_old(self, item: str, before: float) -> bool:
        """Whether the item of this id is among those of `old_items`."""
        return bool(old_items(self._db, before, only=item))


def read_old_items(workdir: Path, before: float) -> Sequence[str]:
    """`old_items` of the ledger of a work folder, which may be being written."""
    with opened_to_read(workdir / FILE) as db:
        return old_items(db, before)


def has_results(workdir: Path) -> bool:
    """Whether a run has made the results of all items, at its end or before."""
    with opened_to_read(workdir / FILE) as db:
        finished = "OR finished" if "finished" in columns_of(db, "runs") else ""
        found = db.execute(f"SELECT 1 FROM runs WHERE outcome = 'done' {finished} LIMIT 1")
        return found.fetchone() is not None


def old_items(db: sqlite3.Connection, before: float, only: str | None = None) -> Sequence[str]:
    """The ids of the items, or of the one of this id, that have ended, and that no run has been
    asked for since `before`, in seconds since the epoch. Lists come after their items, and only
    where all of those are among them."""
    used = "i.used, " if "used" in columns_of(db, "items") else ""
    whole = "AND i.split IS NULL" if "split" in columns_of(db, "items") else ""
    ended = (
        "(SELECT max(coalesce(a.ended, a.started)) FROM attempts a WHERE a.item = i.id"
        " OR (a.item > i.id || '/' AND a.item < i.id || '0'))"
    )
    rows = db.execute(
        "SELECT i.id FROM items i LEFT JOIN runs r ON r.id = i.entered_run"
        f" WHERE i.outcome != 'pending' {whole} AND (?2 IS NULL OR i.id = ?2)"
        f" AND coalesce({used}{ended}, r.ended, r.started, 0) < ?1 ORDER BY i.id",
        (before, only),
    )
    old = {id_: None for (id_,) in rows}
    lists = {
        id_: {held for (held,) in db.execute(HELD, (id_,))} for id_ in old if _is_list(db, id_)
    }
    found = len(old) + 1
    while len(old) < found:  # a list may hold lists
        found = len(old)
        for id_, held in lists.items():
            if id_ in old and not held <= {id_, *old}:
                del old[id_]
    return sorted(old, key=lists.__contains__)


def _is_list(db: sqlite3.Connection, item: str) -> bool:
    held = db.execute("SELECT 1 FROM expansions WHERE parent = ? LIMIT 1", (item,))
    return held.fetchone() is not None


HELD = "SELECT item FROM expansions JOIN items ON id = item WHERE expansions.parent = ?"
"""The items that a list holds."""
