"""Takes an item into a run: its known state, the reusable outputs, and repairs after a crash.

Runs in the ledger's thread, inside the transaction that enters the item.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.contract.item import PARAMETERS, Item
from engine.flow.journey.first_change import (
    first_change,
    repairs_of,
    with_disk,
    with_own,
    with_parts,
    with_standing,
)
from engine.flow.journey.graph import Graph
from engine.flow.journey.journey import Journey
from engine.flow.journey.suspects import Suspects
from engine.ledger.outputs.folders import (
    commit_output,
    discard_output,
    is_whole,
    output_mark,
    part_positions,
    remove_scratch,
    replace_link,
    sweep_scratch,
)
from engine.ledger.part_rows import PartRow
from engine.ledger.records import Change
from engine.ledger.retrying import discard_void_outputs
from engine.ledger.writer import Ledger
from engine.telemetry.events import Repaired

NO_RUN = 0
"""The number of no run: they count from 1."""


@dataclass(frozen=True, slots=True)
class Admission:
    """An item that has entered: its journey, the first change, and the repairs. `is_new`: it has
    not entered this run before, as a part may have that waited."""

    journey: Journey
    change: Change
    repairs: Sequence[Repaired]
    is_new: bool = True


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
    *,
    again: bool = False,
    by_identity: bool = False,
    is_over: bool = True,
) -> Admission | Again:
    """Enter `item` into this run, under its id in the ledger, unless it has entered already.
    `again`: what has failed with it is tried once more, and what has expired is made once more,
    also where that was in this run.
    `by_identity`: an address of this run with another signature is the same item, not a second one;
    if that one `is_over` and has failed, it is tried with this signature."""
    item, is_renewed = ledger.find(item, NO_RUN if by_identity else run)
    if is_over and (again or (by_identity and is_renewed)):
        _try_again(ledger, graph, item)
    if is_over and again:
        _renew(ledger, graph, item)
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
    if known and ledger.standing(item.id)[0] is None:
        _sweep_parts(ledger, graph, item, suspects)
    known = with_standing(ledger, graph, item, with_disk(graph, item, known))
    journey, change = first_change(graph, item, known, parent, depth)
    journey, change = with_parts(ledger, journey, change)
    repairs = repairs_of(journey, change)
    if was_link:
        found = "its folder was a symbolic link; a folder of its own takes the link's place"
        repairs.insert(0, Repaired(item.id, graph.roots[0], found))
    _record(ledger, journey, change, run)
    return Admission(journey, change, repairs)


def _try_again(ledger: Ledger, graph: Graph, item: Item) -> None:
    if not ledger.has_failed(item.id):
        return
    after = {name: graph.descendants(name) for name in graph.names}
    chosen = ledger.retrying.reset(after, whole=item.id)
    discard_void_outputs(item.folder.parent.parent, chosen)
    ledger.leave(item.id)


def _renew(ledger: Ledger, graph: Graph, item: Item) -> None:
    """Outputs that have expired are none any more, and the item may enter again to have them."""
    gone = [
        name
        for name, has_expired in graph.expiring.items()
        if item.has_output(name) and has_expired(item.output(name))
    ]
    for name in gone:
        discard_output(item, name)
    if gone:
        ledger.renew(item.id, gone)


def admit_part(
    ledger: Ledger, above: Journey, row: PartRow, split: str, run: int, suspects: Suspects
) -> Admission:
    """Enter a part of the item of the journey `above` into this run, or once more after it waited
    for an output of that item."""
    graph = above.graph
    part = above.item.part(split, row.position, row.parameters)
    is_new = not ledger.parts.is_in(part, run)
    known = ledger.parts.admit(part, row.made, row.content, run)
    suspects.look(ledger, part)
    sweep_scratch(part)
    own = graph.part_fingerprint(row.made, row.content)
    known = with_own(part, own, with_disk(graph, part, known))
    known = with_standing(ledger, graph, part, known)
    journey, change = first_change(graph, part, known, above=above, own=own)
    journey.priority = above.priority
    journey, change = with_parts(ledger, journey, change)
    repairs = repairs_of(journey, change)
    _record(ledger, journey, change, run)
    return Admission(journey, change, repairs, is_new)


def _sweep_parts(ledger: Ledger, graph: Graph, item: Item, suspects: Suspects) -> None:
    """Delete the scratch folders that a killed run left in the item's parts: it may end before its
    parts enter."""
    for split in graph.splits[item.split]:
        for position in part_positions(item, split, 0):
            part = item.part(split, position)
            suspects.look(ledger, part)
            sweep_scratch(part)
            _sweep_parts(ledger, graph, part, suspects)


def _record(ledger: Ledger, journey: Journey, change: Change, run: int) -> None:
    """Write the first change down. The item may have ended in an earlier run, and have to go on: in
    a step of its own, or in its parts."""
    if journey.known and change.outcome is None:
        ledger.reopen(journey.item)
    ledger.apply(change, run)


def place_part(part: Item, scratch: Path, own: str, *, synced: bool) -> None:
    """Commit the files in `scratch` as the part, unless the same stands already. Blocks."""
    if is_whole(part, part.split):
        mark = output_mark(part, part.split)
        if mark is not None and mark.fingerprint == own:
            remove_scratch(scratch)
            return
    part.folder.mkdir(parents=True, exist_ok=True)
    parameters = part.folder / PARAMETERS
    if part.parameters:
        parameters.write_text(part.parameters.text)
    else:
        parameters.unlink(missing_ok=True)
    commit_output(part, part.split, scratch, own, synced=synced)
