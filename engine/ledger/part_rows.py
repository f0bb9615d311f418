"""The ledger's rows of parts: items with a parent, the step that made them, and a position."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.contract.item import PARTS, Item, part_id
from engine.contract.job import Parameters
from engine.ledger.outputs.mark import is_stand_in, stand_in_of
from engine.ledger.records import End, Failure, Known, known_ends

PARTS_AT_ONCE = 200
"""Parts that are read from the ledger at a time."""


class PartRow(NamedTuple):
    """A part as the ledger has it. `made` is the fingerprint of the output that it was made with,
    `content` the hash of its files and parameters."""

    position: int
    parameters: Parameters
    made: str
    content: str
    outcome: str


@dataclass(slots=True)
class Gathered:
    """What the parts of an item came to at a step: how many there are, and how many of them ended
    there done, failed or dropped, there or before. `digest` is that of those that are done, and
    says whether some are stand-ins.
    `failures`: why those failed that did, there or before, by id."""

    parts: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    retryable: bool = False
    kinds: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    digest: str = ""
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, at: "_Row | None", ill: "_Row | None") -> None:
        self.parts += 1
        if at is not None and at.outcome == "done":
            self.done += 1
        elif ill is not None:
            self.failed += ill.outcome == "failed"
            self.dropped += ill.outcome == "dropped"
            self.retryable |= ill.retryable
            self.kinds[ill.outcome, ill.kind, ill.reason] += 1

    def end_of(self, end: End) -> End:
        """`end`, with the outcome for the item as a whole: done if any part is, or there are none;
        dropped if all were, failed if none is done and not all were dropped."""
        end = end._replace(parts=self.parts, gaps=self.failed)
        if self.done or not (self.failed or self.dropped):
            return end
        outcome = "failed" if self.failed else "dropped"
        ill = [(kind, reason, n) for (how, kind, reason), n in self.kinds.items() if how == outcome]
        kind, reason, many = max(ill, key=lambda one: one[2])
        text = reason or ""
        if many < self.parts:
            text = f"no part of {self.parts} ended well; {many} of them: {text}"
        failure = Failure(kind or "", text)
        if outcome == "failed":
            return end._replace(outcome="failed", retryable=self.retryable, failure=failure)
        return end._replace(outcome="dropped", failure=failure)


class _Row(NamedTuple):
    """The end of a step with a part."""

    stage: str
    outcome: str
    fingerprint: str | None
    kind: str | None
    reason: str | None
    retryable: bool


class PartRows:
    """The part of a `Ledger` for parts. Used like the ledger: from one thread at a time, within its
    transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def admit(self, part: Item, made: str, content: str, run: int) -> dict[str, Known]:
        """Enter a part into this run, or enter it again; returns the known state of its stages."""
        assert part.parent is not None
        self._db.execute(
            "INSERT INTO items (id, source, parent, entered_run, parameters, split, position, made,"
            " content) VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET entered_run = excluded.entered_run, source = excluded.source,"
            " parameters = excluded.parameters, made = excluded.made, content = excluded.content",
            (
                part.id,
                part.source.encode("utf-8", "surrogateescape"),
                part.parent.id,
                run,
                part.parameters.text or None,
                part.split,
                part.position,
                made,
                content,
            ),
        )
        return known_ends(self._db, part.id)

    def is_in(self, part: Item, run: int) -> bool:
        """Whether the part has entered this run."""
        found = self._db.execute(
            "SELECT entered_run FROM items WHERE id = ?", (part.id,)
        ).fetchone()
        return found is not None and bool(found[0] == run)

    def known(self, part: Item) -> dict[str, Known]:
        """The known state of the part's stages, by name."""
        return known_ends(self._db, part.id)

    def one(self, part: Item) -> PartRow | None:
        """The part's row, None where it has none."""
        row = self._db.execute(
            "SELECT position, parameters, made, content, outcome FROM items WHERE id = ?",
            (part.id,),
        ).fetchone()
        return None if row is None else _part_row(*row)

    def after(self, parent: str, split: str, position: int) -> list[PartRow]:
        """The next parts after `position`, in order; at most PARTS_AT_ONCE."""
        rows = self._db.execute(
            "SELECT position, parameters, made, content, outcome FROM items"
            " WHERE id > ? AND id < ?"
            " AND split = ? AND parent = ? ORDER BY id LIMIT ?",
            (
                _from(parent, split) + (f"{position:08d}/~" if position >= 0 else ""),
                _until(parent, split),
                split,
                parent,
                PARTS_AT_ONCE,
            ),
        )
        return [_part_row(*row) for row in rows]

    def all(self, parent: str, split: str) -> Iterator[PartRow]:
        """All parts of the item that the step made, in order; read lazily."""
        position = -1
        while rows := self.after(parent, split, position):
            yield from rows
            position = rows[-1].position

    def count(self, parent: str, split: str, made: str) -> int:
        """Number of parts that were made with an output of this fingerprint."""
        found = self._db.execute(
            "SELECT count(*) FROM items WHERE id > ? AND id < ? AND split = ? AND parent = ?"
            " AND made = ?",
            (_from(parent, split), _until(parent, split), split, parent, made),
        )
        return int(found.fetchone()[0])

    def outcomes(self, parent: str, split: str) -> set[str]:
        """How the parts stand: "pending", "done", "dropped", "failed"."""
        found = self._db.execute(
            "SELECT DISTINCT outcome FROM items WHERE id > ? AND id < ? AND split = ?"
            " AND parent = ?",
            (_from(parent, split), _until(parent, split), split, parent),
        )
        return {outcome for (outcome,) in found}

    def gathered(self, parent: str, split: str, stage: str, deciding: Collection[str]) -> Gathered:
        """What the parts came to at `stage`. A part that has not ended well there has failed or was
        dropped there or before, by a stage in `deciding`, or was not to reach it."""
        found, digest, stand_ins = Gathered(), hashlib.sha256(), False
        for position, rows in self._ends(parent, split):
            at = rows.get(stage)
            ill = None
            if at is None or at.outcome != "done":
                bad = [row for row in rows.values() if row.stage in deciding]
                bad = [row for row in bad if row.outcome in ("failed", "dropped")]
                ill = next((row for row in bad if row.outcome == "failed"), bad[0] if bad else None)
                failed = at if at is not None and at.outcome == "failed" else ill
                if failed is not None and failed.outcome == "failed":
                    found.failures[part_id(parent, split, position)] = failed.reason or ""
            else:
                digest.update(f"{position} {at.fingerprint} {at.kind or ''}\n".encode())
                stand_ins |= is_stand_in(at.fingerprint or "")
            found.add(at, ill)
        told = digest.hexdigest()[:32]
        found.digest = stand_in_of(told) if stand_ins else told
        return found

    def _ends(self, parent: str, split: str) -> Iterator[tuple[int, dict[str, _Row]]]:
        """The ends of each part's stages, by stage, in the parts' order."""
        rows = self._db.execute(
            "SELECT p.position, s.stage, s.outcome, s.fingerprint, s.kind, s.reason, s.retryable"
            " FROM items p LEFT JOIN stages s ON s.item = p.id"
            " WHERE p.id > ? AND p.id < ? AND p.split = ? AND p.parent = ? ORDER BY p.id",
            (_from(parent, split), _until(parent, split), split, parent),
        )
        last, ends = -1, dict[str, _Row]()
        for position, stage, *rest in rows:
            if position != last:
                if last >= 0:
                    yield last, ends
                last, ends = position, {}
            if stage is not None:
                ends[stage] = _Row(stage, *rest)
        if last >= 0:
            yield last, ends

    def superfluous(self, parent: str, split: str, many: int, made: str) -> list[int]:
        """The positions of parts that are none any more: from the position `many` on, or made with
        another output than that of the fingerprint `made`."""
        rows = self._db.execute(
            "SELECT position FROM items WHERE id > ? AND id < ? AND split = ? AND parent = ?"
            " AND (position >= ? OR made != ?)",
            (_from(parent, split), _until(parent, split), split, parent, many, made),
        )
        return [position for (position,) in rows]

    def forget(self, part: Item) -> None:
        """Delete everything about a part, and about the parts of it."""
        for table, column in (("items", "id"), ("stages", "item"), ("attempts", "item")):
            self._db.execute(
                f"DELETE FROM {table} WHERE {column} = ? OR ({column} > ? AND {column} < ?)",
                (part.id, f"{part.id}/", f"{part.id}0"),
            )

    def withdraw(self, parent: str) -> None:
        """Delete the rows of stages that the item's parts waited for and do not any more: a killed
        run leaves some where it had decided the item, and could not withdraw them."""
        self._db.execute(
            "DELETE FROM stages WHERE item > ? AND item < ? AND outcome = 'pending'",
            (f"{parent}/", f"{parent}0"),
        )

    def discard(self, parent: str, stages: Sequence[str]) -> None:
        """Record that the outputs of these stages were deleted on purpose, in all parts."""
        for stage in stages:
            self._db.execute(
                "UPDATE stages SET discarded = 1 WHERE item > ? AND item < ? AND stage = ?",
                (f"{parent}/", f"{parent}0", stage),
            )


def _from(parent: str, split: str) -> str:
    return f"{parent}/{split}{PARTS}/"


def _until(parent: str, split: str) -> str:
    return f"{parent}/{split}{PARTS}0"


def _part_row(
    position: int, parameters: str | None, made: str, content: str, outcome: str
) -> PartRow:
    return PartRow(position, Parameters(parameters or ""), made, content, outcome)
