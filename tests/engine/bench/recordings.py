"""Recordings made by hand: items whose service times are known."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit


def item(name: str, **seconds: float | Service | Sequence[Service] | Visit) -> RecordedItem:
    """An item that has a visit to each stage that is named: seconds of waiting, or services."""
    visits = {}
    for stage, given in seconds.items():
        if isinstance(given, Visit):
            visits[stage] = given
        elif isinstance(given, Service):
            visits[stage] = Visit([given])
        elif isinstance(given, int | float):
            visits[stage] = Visit([Service(float(given))])
        else:
            visits[stage] = Visit(list(given))
    return RecordedItem(name, visits)


def recording(
    predecessors: Mapping[str, Sequence[str]],
    items: Sequence[RecordedItem],
    *,
    workers: int = 1,
    queue: int = 8,
    cores: int = 1000,
    **more: Any,
) -> Recording:
    """`predecessors` in topological order."""
    return Recording(
        stages=tuple(predecessors),
        predecessors=predecessors,
        queues=dict.fromkeys(predecessors, queue),
        workers=dict.fromkeys(predecessors, workers),
        items=items,
        cores=cores,
        **more,
    )


def tandem(*stages: str) -> dict[str, tuple[str, ...]]:
    """Each stage after the one before it."""
    return {name: stages[max(0, n - 1) : n] for n, name in enumerate(stages)}
