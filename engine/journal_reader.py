"""Questions to the ledger: how a run stands, what failed, which items there are, what adds up.

Reading takes no lock that a run at work would notice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import WorkFolderError
from engine.item import Item
from engine.journal import FILE, connect
from engine.pipeline import ItemRecord, Pipeline
from engine.statistics import FailureClass, StageCounts


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as the ledger has it. Times are seconds since the epoch."""

    id: int
    pipeline: str
    started: float
    ended: float | None
    outcome: str | None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


class JournalReader:
    """The ledger of one work folder, to be read. A context manager."""

    def __init__(self, workdir: Path) -> None:
        """Raises WorkFolderError where `workdir` has no ledger."""
        self.workdir = workdir
        if not (workdir / FILE).is_file():
            raise WorkFolderError(
                f"{workdir} is not a work folder: it has no {FILE}; give the folder that a run "
                "wrote"
            )
        self._db = connect(workdir / FILE, read_only=True)
        if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._db.close()
            raise WorkFolderError(f"{workdir} has seen no run yet")

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def last_run(self) -> RunRow | None:
        row = self._db.execute(
            "SELECT id, pipeline, started, ended, outcome, settings, versions FROM runs"
            " ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        id_, pipeline, started, ended, outcome, settings, versions = row
        return RunRow(
            id_, pipeline, started, ended, outcome, json.loads(settings), json.loads(versions)
        )

    def counts(self, stages: Sequence[str]) -> list[StageCounts]:
        """How many items entered each of `stages` and how they ended, over the whole ledger."""
        tally = {
            stage: dict.fromkeys(("done", "dropped", "failed", "pending"), 0) for stage in stages
        }
        rows = self._db.execute("SELECT stage, outcome, count(*) FROM stages GROUP BY 1, 2")
        for stage, outcome, count in rows:
            if stage in tally:
                tally[stage][outcome] = count
        return [
            StageCounts(stage=stage, entered=sum(by.values()), **by) for stage, by in tally.items()
        ]

    def item_counts(self) -> StageCounts:
        """How many items there are and how they ended as a whole, over the whole ledger."""
        by = dict.fromkeys(("done", "dropped", "failed", "pending"), 0)
        by |= dict(self._db.execute("SELECT outcome, count(*) FROM items GROUP BY 1"))
        return StageCounts(stage="items", entered=sum(by.values()), **by)

    def failure_classes(self) -> list[FailureClass]:
        """Failures by stage and class, the most frequent first, with an example of each."""
        rows = self._db.execute(
            "SELECT s.stage, s.kind, count(*) AS n, min(i.source), s.reason FROM stages s"
            " JOIN items i ON i.id = s.item WHERE s.outcome = 'failed'"
            " GROUP BY s.stage, s.kind ORDER BY n DESC, s.stage, s.kind"
        )
        return [FailureClass(*row) for row in rows]

    def drop_classes(self) -> set[str]:
        """The classes of what was dropped."""
        rows = self._db.execute("SELECT DISTINCT kind FROM stages WHERE outcome = 'dropped'")
        return {kind for (kind,) in rows if kind}

    def pending_items(self) -> Iterator[tuple[str, str]]:
        """The ids and sources of items that have not ended, read lazily, ordered by id."""
        after = ""
        while rows := self._db.execute(
            "SELECT id, source FROM items WHERE outcome = 'pending' AND id > ?"
            " ORDER BY id LIMIT 500",
            (after,),
        ).fetchall():
            yield from rows
            after = rows[-1][0]

    def item_records(self) -> Iterator[ItemRecord]:
        """Every item, ordered by id, read lazily."""
        rows = self._db.execute(
            "SELECT i.id, i.source, i.parent, i.outcome,"
            " (SELECT max(expanded) FROM stages s WHERE s.item = i.id), s.stage, s.reason, s.kind"
            " FROM items i LEFT JOIN stages s ON s.item = i.id AND s.outcome = i.outcome"
            " AND i.outcome IN ('dropped', 'failed') ORDER BY i.id, s.stage"
        )
        last = None
        for id_, source, parent, outcome, expanded, stage, reason, kind in rows:
            if id_ == last:
                continue  # several stages of one item ended that way: the first is named
            last = id_
            yield ItemRecord(
                id=id_,
                source=source,
                folder=Item.at(self.workdir, source, id_).folder,
                parent=parent,
                outcome=outcome,
                stage=stage,
                reason=reason,
                kind=kind,
                expanded=expanded,
            )

    def audit(self, pipeline: Pipeline, optional: frozenset[str]) -> list[str]:
        """Check that every item of the last run is accounted for; returns a sentence for each
        discrepancy.

        A stage must have been entered by exactly the items with which all its predecessors have
        ended well (any way, for an optional one); an item that is done has no stage pending. Items
        that only earlier runs saw may have gone by other settings.
        """
        last = "i.entered_run = (SELECT max(id) FROM runs)"
        found = []
        for name in pipeline.names:
            conditions, values = ["1"], []
            for before in pipeline.predecessors(name):
                well = (
                    "s.outcome != 'pending' AND s.expanded IS NULL"
                    if before in optional
                    else "s.outcome = 'done' AND s.expanded IS NULL"
                )
                conditions.append(
                    "EXISTS (SELECT 1 FROM stages s"
                    f" WHERE s.item = i.id AND s.stage = ? AND {well})"
                )
                values.append(before)
            due = " AND ".join(conditions)
            entered = "EXISTS (SELECT 1 FROM stages e WHERE e.item = i.id AND e.stage = ?)"
            lost, extra = self._db.execute(
                f"SELECT coalesce(sum(({due}) AND NOT {entered}), 0),"
                f" coalesce(sum(NOT ({due}) AND {entered}), 0) FROM items i WHERE {last}",
                (*values, name, *values, name),
            ).fetchone()
            if lost:
                found.append(f"{lost} items should have entered stage {name!r} and did not")
            if extra:
                found.append(f"{extra} items entered stage {name!r} and should not have")
        (open_,) = self._db.execute(
            f"SELECT count(*) FROM items i WHERE {last} AND outcome != 'pending' AND EXISTS"
            " (SELECT 1 FROM stages s WHERE s.item = i.id AND s.outcome = 'pending')"
        ).fetchone()
        if open_:
            found.append(f"{open_} items are recorded as ended with a stage pending")
        return found
