"""`penstock retry` in the ledger: which failures are tried again, and what has to go for that."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.contract.item import PARTS, Item, whence, whole_id
from engine.ledger.outputs.folders import discard_output, discard_parts

WHOLE = " JOIN items whole ON whole.id = substr(i.id, 1, instr(i.id || '/', '/') - 1)"
"""Joins the whole item that the item, or part, `i` belongs to."""

GAP = "(i.split IS NOT NULL AND i.outcome = 'failed' AND whole.outcome = 'done')"
"""The condition for a part that makes a gap: it has failed, and its whole item is done all the
same."""

ABANDONED = (
    "(i.split IS NOT NULL AND i.outcome = 'pending' AND EXISTS ("
    "WITH RECURSIVE above (id) AS (SELECT i.parent UNION ALL"
    " SELECT a.parent FROM items a JOIN above ON a.id = above.id WHERE a.split IS NOT NULL)"
    " SELECT 1 FROM above JOIN items a ON a.id = above.id WHERE a.outcome != 'pending'))"
)
"""The condition for a part that goes no further: it has not ended, but its item has, or one that
this is a part of. Only a retry takes it up again."""


class Retried(NamedTuple):
    """An item, or part, that `stage` is to try again. `void` are the stages whose outputs have to
    go for that, of the part and of all that it is a part of."""

    item: str
    stage: str
    void: tuple[str, ...] = ()


class Retrying:
    """The part of a `Ledger` for failures to be tried again. Used like the ledger: from one thread
    at a time, within its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def reset(
        self,
        descendants: Mapping[str, Sequence[str]],
        kind: str | None = None,
        stage: str | None = None,
        *,
        gaps: bool = False,
        whole: str | None = None,
    ) -> list[Retried]:
        """Make failures pending, so that a run tries them again: those of this kind, stage and
        `whole` item, with its parts, or of any (None). A named kind may also be one of drops.

        With `gaps` those that made a gap: failed parts of items that are done without them. Else
        all others. What an item's parts came to as a whole is not among them: the parts are. Where
        a step judged an item by its parts, all of these are: else it would judge the same again.

        `descendants` gives the stages after each stage. What they came to is void: for the item
        itself, and for all that it is a part of.
        """
        chosen: dict[tuple[str, str], Retried] = {}
        for item, ended in self._ended_ill(kind, stage, whole, gaps=gaps):
            void = (ended, *descendants.get(ended, ()))
            judged = [Retried(part, ended, void) for part in self._judged_by(item, ended)]
            for one in judged or [Retried(item, ended)]:
                chosen[one.item, ended] = one
        for item, ended, void in chosen.values():
            self._reset(item, ended, descendants.get(ended, ()))
            for name in void:
                self._forget_parts(item, name)
        return list(chosen.values())

    def _ended_ill(
        self, kind: str | None, stage: str | None, whole: str | None, *, gaps: bool
    ) -> list[tuple[str, str]]:
        return self._db.execute(
            "SELECT s.item, s.stage FROM stages s JOIN items i ON i.id = s.item"
            f"{WHOLE} WHERE s.outcome IN ('failed', iif(?1 IS NULL, '', 'dropped'))"
            " AND s.gaps IS NULL"
            " AND s.kind IS coalesce(?1, s.kind) AND s.stage = coalesce(?2, s.stage)"
            f" AND (s.outcome = 'failed' AND {GAP}) = ?3"
            " AND (?4 IS NULL OR s.item = ?4 OR (s.item > ?4 || '/' AND s.item < ?4 || '0'))",
            (kind, stage, gaps, whole),
        ).fetchall()

    def _judged_by(self, item: str, stage: str) -> list[str]:
        """The parts that `stage` has ended with, where it has also ended with their item."""
        rows = self._db.execute(
            "SELECT item FROM stages WHERE item > ? AND item < ? AND stage = ? AND gaps IS NULL",
            (f"{item}/", f"{item}0", stage),
        )
        return [part for (part,) in rows]

    def _forget_parts(self, item: str, split: str) -> None:
        """Delete everything about the parts that `split` has made of this item or part, if any."""
        for table, column in (("items", "id"), ("stages", "item"), ("attempts", "item")):
            self._db.execute(
                f"DELETE FROM {table} WHERE {column} > ? AND {column} < ?",
                (f"{item}/{split}{PARTS}/", f"{item}/{split}{PARTS}0"),
            )

    def _reset(self, item: str, stage: str, after: Sequence[str]) -> None:
        self._db.execute(
            "UPDATE stages SET outcome = 'pending', fingerprint = NULL, kind = NULL,"
            " reason = NULL, retryable = 0 WHERE item = ? AND stage = ?",
            (item, stage),
        )
        self._open(item, after)
        void, above = [stage, *after], whence(item)
        while above is not None:
            parent, split = above
            self._open(parent, void)
            # The row of `split` there is the parent's own; further up it is about its parts.
            void.append(split)
            above = whence(parent)

    def _open(self, item: str, void: Sequence[str]) -> None:
        """Make the item pending, and forget what it came to at these stages."""
        self._db.execute("UPDATE items SET outcome = 'pending' WHERE id = ?", (item,))
        self._db.executemany(
            "DELETE FROM stages WHERE item = ? AND stage = ?", [(item, name) for name in void]
        )


def discard_void_outputs(workdir: Path, chosen: Sequence[Retried]) -> None:
    """Delete the outputs that would stand in for another try. What has failed itself has none."""
    for id_, _, void in chosen:
        if not void or (workdir / "items" / whole_id(id_)).is_symlink():
            continue  # a run replaces such a link by an empty folder
        for stage in void:
            discard_parts(workdir / "items" / id_, stage)
        above: str | None = id_
        while above is not None:
            for stage in void:
                discard_output(Item(above, "", workdir / "items" / above), stage)
            parent = whence(above)
            above = parent[0] if parent is not None else None
