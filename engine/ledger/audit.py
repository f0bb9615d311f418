"""The audit of the books: whether every item and part of the last run is accounted for."""

import sqlite3
from collections.abc import Iterator

from engine.contract.item import PARTS
from engine.contract.pipeline import Pipeline

LAST = "i.entered_run = (SELECT max(id) FROM runs)"
"""Items that only earlier runs saw may have followed other settings."""


class Audit:
    """Recounts from the tables.

    Exactly the items, or parts, that all predecessors of a step have ended well (an optional one in
    any way) must have entered the step, or may have where another step has decided the item, or one
    that it is a part of: a step that is not optional has failed or dropped it. A predecessor above
    the step's level has ended with the item that the part belongs to; one below it, with all parts.
    An item that has ended has no step pending; one that is done has no part pending, and has
    gathered as many parts as there are.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        pipeline: Pipeline,
        optional: frozenset[str],
        *,
        knows_parts: bool,
    ) -> None:
        self._db = db
        self._pipeline = pipeline
        self._optional = optional
        self._knows_parts = knows_parts
        self._deciding = [name for name in pipeline.names if name not in optional]
        self._gathering = _gathering(pipeline)

    def findings(self) -> list[str]:
        """A sentence for each discrepancy."""
        return [*self._entered_wrongly(), *self._left_open(), *self._parts_wrong()]

    def _entered_wrongly(self) -> Iterator[str]:
        for name in self._pipeline.names:
            due, values = self._due(name)
            decided, deciders = self._decided(name)
            entered = (
                "EXISTS (SELECT 1 FROM stages e WHERE e.item = i.id AND e.stage = ?"
                f"{self._own('e')})"
            )
            lost, extra = self._db.execute(
                f"SELECT coalesce(sum(({due}) AND NOT {entered} AND NOT {decided}"
                f" AND {self._had_to_go_on(name)}), 0),"
                f" coalesce(sum(NOT ({due}) AND {entered} AND {self._goes_by_this_run(name)}), 0)"
                " FROM items i"
                f" WHERE {LAST} AND {self._at_level(name)}",
                (*values, name, *deciders, *values, name),
            ).fetchone()
            what = "parts" if self._pipeline[name].each else "items"
            if lost:
                yield f"{lost} {what} should have entered stage {name!r} and did not"
            if extra:
                yield f"{extra} {what} entered stage {name!r} and should not have"

    def _due(self, name: str) -> tuple[str, list[str]]:
        """The condition for an item that was to enter the step, and the values in it."""
        mine = self._pipeline.level(name)
        conditions, values = ["1"], list[str]()
        for before in self._pipeline.predecessors(name):
            if before in mine:
                continue  # it made the part, or one that this is a part of
            level = self._pipeline.level(before)
            whose, own = self._ancestor(len(mine) - len(level)), self._own("s")
            if len(level) > len(mine):
                whose, own = "i.id", " AND s.gaps IS NOT NULL"
            well = "s.outcome != 'pending'" if before in self._optional else "s.outcome = 'done'"
            conditions.append(
                f"EXISTS (SELECT 1 FROM stages s WHERE s.item = {whose} AND s.stage = ?"
                f" AND {well} AND s.expanded IS NULL{own})"
            )
            values.append(before)
        return " AND ".join(conditions), values

    def _decided(self, name: str) -> tuple[str, list[str]]:
        """The condition for an item that is decided, and the values in it."""
        depth = len(self._pipeline.level(name))
        whose = ", ".join(self._ancestor(up) for up in range(depth + 1))
        stages = ", ".join("?" * len(self._deciding))
        condition = (
            f"EXISTS (SELECT 1 FROM stages d WHERE d.item IN ({whose})"
            f" AND d.outcome IN ('dropped', 'failed') AND d.stage IN ({stages}))"
        )
        return condition, self._deciding

    @staticmethod
    def _ancestor(up: int) -> str:
        """The id of the item so many levels above `i`."""
        whose = "i.id"
        for _ in range(up):
            whose = f"(SELECT parent FROM items WHERE id = {whose})"
        return whose

    def _had_to_go_on(self, name: str) -> str:
        """The condition for an item or part that is to have entered all that it was to enter: where
        a run stops, parts may wait that have not been told of an output of their item, and an item
        may not have looked at all of its parts."""
        if self._pipeline[name].each:
            return "(SELECT outcome FROM items WHERE id = i.parent) != 'pending'"
        return "i.outcome != 'pending'" if name in self._gathering else "1"

    def _goes_by_this_run(self, name: str) -> str:
        """The condition for an item or part whose rows are this run's: a part that waits for an
        output of its item keeps those of earlier runs, which may yet hold; and so does an item that
        has not gathered its parts."""
        may_wait = self._pipeline[name].each or name in self._gathering
        return "i.outcome != 'pending'" if may_wait else "1"

    def _own(self, table: str) -> str:
        return f" AND {table}.gaps IS NULL" if self._knows_parts else ""

    def _at_level(self, name: str) -> str:
        if not self._knows_parts:
            return "1"
        each = self._pipeline[name].each
        return f"i.split = '{each.replace(chr(39), chr(39) * 2)}'" if each else "i.split IS NULL"

    def _left_open(self) -> Iterator[str]:
        (many,) = self._db.execute(
            f"SELECT count(*) FROM items i WHERE {LAST} AND outcome != 'pending' AND EXISTS"
            " (SELECT 1 FROM stages s WHERE s.item = i.id AND s.outcome = 'pending')"
        ).fetchone()
        if many:
            yield f"{many} items are recorded as ended with a stage pending"

    def _parts_wrong(self) -> Iterator[str]:
        if not self._knows_parts or not any(step.each for step in self._pipeline.steps):
            return
        (many,) = self._db.execute(
            f"SELECT count(*) FROM items i WHERE {LAST} AND i.outcome = 'done' AND EXISTS"
            " (SELECT 1 FROM items p WHERE p.id > i.id || '/' AND p.id < i.id || '0'"
            " AND p.parent = i.id AND p.outcome = 'pending')"
        ).fetchone()
        if many:
            yield f"{many} items are recorded as done with a part pending"
        for step in self._pipeline.steps:
            if not step.each:
                continue
            (many,) = self._db.execute(
                "SELECT count(*) FROM stages s JOIN items i ON i.id = s.item"
                f" WHERE {LAST} AND s.stage = ? AND s.outcome = 'done' AND s.gaps IS NOT NULL"
                " AND s.parts != (SELECT count(*) FROM items p WHERE p.parent = i.id"
                " AND p.id > i.id || ? AND p.id < i.id || ? AND p.split = ?)",
                (step.name, f"/{step.each}{PARTS}/", f"/{step.each}{PARTS}0", step.each),
            ).fetchone()
            if many:
                yield f"{many} items gathered another number of parts at {step.name!r} than exist"


def _gathering(pipeline: Pipeline) -> set[str]:
    """The steps that gather parts, and all steps after those."""
    found: set[str] = set()
    for name in pipeline.names:
        mine = len(pipeline.level(name))
        for before in pipeline.predecessors(name):
            if before in found or len(pipeline.level(before)) > mine:
                found.add(name)
    return found
