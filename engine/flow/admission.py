"""Takes an item into a run: its known state, the reusable outputs, and repairs after a crash.

Runs in the ledger's thread, inside the transaction that enters the item.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.contract.item import Item
from engine.flow.graph import Graph
from engine.flow.journey import Journey
from engine.flow.suspects import Suspects
from engine.ledger.output_folders import (
    discard_partial,
    is_whole,
    output_mark,
    replace_link,
    sweep_scratch,
)
from engine.ledger.records import Change, Known
from engine.ledger.writer import Ledger
from engine.telemetry.events import Repaired


@dataclass(frozen=True, slots=True)
class Admission:
    """An item that has entered: its journey, the first change, and the repairs."""

    journey: Journey
    change: Change
    repairs: Sequence[Repaired]


@dataclass(frozen=True, slots=True)
class Again:
    """An item that entered the run before; `agrees`: with the same parameters."""

    item: str
    agrees: bool


def admit(
    ledger: Ledger,
    graph: Graph,
    item: Item,
    parent: str | None,
    depth: int,
    run: int,
    suspects: Suspects,
) -> Admission | Again:
    """Enter `item` into this run, under its id in the ledger, unless it has entered already."""
    item, is_renewed = ledger.find(item, run)
    item = replace(item, depth=depth)
    known = ledger.admit(item, parent, run)
    if known is None:
        _, parameters = ledger.standing(item.id)
        return Again(item.id, parameters.text == item.parameters.text)
    if is_renewed:  # the failure may be due to the old signature
        known = {
            name: one
            for name, one in known.items()
            if one.outcome != "failed" or name not in graph.roots
        }
    was_link = replace_link(item)
    suspects.look(ledger, item)
    sweep_scratch(item)
    journey, change = _first_change(graph, item, _with_disk(graph, item, known), parent, depth)
    repairs = _repair(journey, change)
    if was_link:
        found = "its folder was a symbolic link; a folder of its own takes the link's place"
        repairs.insert(0, Repaired(item.id, graph.roots[0], found))
    ledger.apply(change, run)
    return Admission(journey, change, repairs)


def _first_change(
    graph: Graph, item: Item, known: dict[str, Known], parent: str | None, depth: int
) -> tuple[Journey, Change]:
    """The item's journey, in which no damaged output will be read, and its first change."""
    while True:
        journey = Journey(graph, item, known, parent, depth)
        change = journey.advance()
        standing = [
            stage
            for stage in _to_be_read(graph, change)
            if stage in known and known[stage].on_disk is not None
        ]
        damaged = [stage for stage in standing if not is_whole(item, stage)]
        if not damaged:
            return journey, change
        for stage in damaged:
            known[stage] = replace(known[stage], on_disk=None)


def _to_be_read(graph: Graph, change: Change) -> set[str]:
    """The stages whose outputs other stages, or the finish, will read. Only these are checked:
    checking every file of all ended items would take long."""
    running = {name for stage in change.entering for name in (stage, *graph.descendants(stage))}
    read = {name for stage in running for name in graph.reads[stage]}
    return read | {end.stage for end in change.reused if not graph.readers[end.stage]}


def _with_disk(graph: Graph, item: Item, known: Mapping[str, Known]) -> dict[str, Known]:
    both = dict(known)
    for stage in graph.names:
        mark = output_mark(item, stage)
        if mark is not None:
            before = both.get(stage, Known())
            expanded = mark.expanded if before.expanded is None else before.expanded
            both[stage] = replace(before, on_disk=mark.fingerprint, expanded=expanded)
    return both


def _repair(journey: Journey, change: Change) -> list[Repaired]:
    """Repairs where the ledger and the folders disagree: the folders are right."""
    repairs, item = [], journey.item
    for end in change.restored:
        discard_partial(item, end.stage)
        found = "its output is whole, but the ledger had missed it; it counts as done"
        repairs.append(Repaired(item.id, end.stage, found))
    for stage in change.entering:
        known = journey.known.get(stage, Known())
        is_gone = known.on_disk is None and not (known.discarded or known.is_skipped)
        if known.outcome == "done" and is_gone:
            gone = "the ledger has it as done, but its output is {}; it is made again".format(
                "damaged" if os.path.lexists(item.folder / stage) else "gone"
            )
            repairs.append(Repaired(item.id, stage, gone))
    return repairs
