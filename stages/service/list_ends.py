"""What a job is told of a list, such as a playlist: how each of its videos has ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import ItemRecord, read_list
from stages.publishing.records import read_result

MOST = 100
"""The most videos that are told one by one: what a job gets stays small."""

OUTCOMES = ("done", "dropped", "failed", "pending")


def list_ends(workdir: Path, record: ItemRecord) -> Mapping[str, Any] | None:
    """What came of the list of this record, as the producer of its job is told; None for an item
    that is no list. Blocks."""
    if record.expanded is None:
        return None
    found = read_list(workdir, record.id, MOST)
    counts = {outcome: found.counts.get(outcome, 0) for outcome in OUTCOMES}
    return {"items": sum(counts.values()), **counts, "ends": [_end(one) for one in found.first]}


def _end(record: ItemRecord) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "item": record.id,
        "source": record.source,
        "outcome": record.outcome,
        "gaps": record.gaps,
    }
    if record.stage is not None:
        told |= {"step": record.stage, "reason": record.reason}
    result = read_result(record.folder) if record.outcome == "done" else None
    return told if result is None else told | {"result": result}
