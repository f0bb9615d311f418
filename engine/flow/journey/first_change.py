"""An item's first change in a run: what stands of earlier runs, by the ledger and the folders.

Runs in the ledger's thread, inside the transaction that enters the item.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

from engine.contract.item import Item
from engine.contract.parts import Positions
from engine.flow.journey.ends import Ends
from engine.flow.journey.graph import Graph
from engine.flow.journey.journey import Journey
from engine.ledger.outputs.folders import discard_partial, is_whole, output_mark
from engine.ledger.outputs.mark import content_of
from engine.ledger.part_rows import PartRow
from engine.ledger.records import Change, Known
from engine.ledger.writer import Ledger
from engine.telemetry.events import Repaired


def first_change(
    graph: Graph,
    item: Item,
    known: dict[str, Known],
    parent: str | None = None,
    depth: int = 0,
    *,
    above: Ends | None = None,
    own: str = "",
) -> tuple[Journey, Change]:
    """The item's journey, in which no damaged output will be read, and its first change."""
    while True:
        journey = Journey(graph, item, known, above, own, parent=parent, depth=depth)
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
    """The stages whose outputs other stages, or the finish, will read; of a part also those that
    are gathered, as parts are looked at only where their item is not complete. Only these are
    checked: checking every file of all ended items would take long."""
    running = {name for stage in change.entering for name in (stage, *graph.descendants(stage))}
    read = {name for stage in running for name in graph.reads[stage]}
    gathered = {end.stage for end in change.reused if graph.gatherers(end.stage)}
    return read | gathered | {one.stage for one in change.reused if one.stage in graph.results}


def with_disk(graph: Graph, item: Item, known: Mapping[str, Known]) -> dict[str, Known]:
    both = dict(known)
    for stage in (*graph.home[item.split], *(() if item.split else graph.off)):
        mark = output_mark(item, stage)
        if mark is not None:
            before = both.get(stage, Known())
            expanded = mark.expanded if before.expanded is None else before.expanded
            parts = mark.parts if before.parts is None else before.parts
            both[stage] = replace(before, on_disk=mark.fingerprint, expanded=expanded, parts=parts)
    return both


def with_standing(
    ledger: Ledger, graph: Graph, item: Item, known: Mapping[str, Known]
) -> dict[str, Known]:
    """`known`, and of what the item's parts came to, whether some of them have not ended, whether
    some ended ill, and whether all of it is there."""
    both = dict(known)
    for split in graph.splits[item.split]:
        here = [name for name in graph.home[split] if name in known]
        outcomes = ledger.parts.outcomes(item.id, split) if here else set()
        is_open, ill = "pending" in outcomes, not outcomes.isdisjoint(("failed", "dropped"))
        if is_open or ill:
            more = {
                name: replace(
                    known[name],
                    is_open=is_open,
                    some_ended_ill=ill,
                    all_there=not ill and _are_all_there(ledger, graph, item, known, name),
                )
                for name in here
            }
            both |= more
    return both


def _are_all_there(
    ledger: Ledger, graph: Graph, item: Item, known: Mapping[str, Known], name: str
) -> bool:
    """Whether each part of the item has what the step `name` made of it. Not looked at where it
    makes no difference: where the step reads nothing of the item's that is not kept."""
    split = graph.level[name]
    if not any(graph.level[one] == item.split for one in graph.discarded_for(name) if one != split):
        return False
    rows = [*ledger.parts.all(item.id, split)]
    return len(rows) == known.get(split, Known()).parts and all(
        _has_output(ledger, item.part(split, row.position, row.parameters), name) for row in rows
    )


def _has_output(ledger: Ledger, part: Item, stage: str) -> bool:
    mark, known = output_mark(part, stage), ledger.parts.known(part).get(stage, Known())
    stands = known.outcome == "done" and mark is not None and mark.fingerprint == known.fingerprint
    return stands and is_whole(part, stage)


def repairs_of(journey: Journey, change: Change) -> list[Repaired]:
    """Repairs where the ledger and the folders disagree: the folders are right."""
    repairs, item = [], journey.item
    for end in change.restored:
        discard_partial(item, end.stage)
        found = "its output is whole, but the ledger had missed it; it counts as done"
        repairs.append(Repaired(item.id, end.stage, found))
    for stage in (*change.entering, *_to_gather_again(journey)):
        known = journey.known.get(stage, Known())
        is_gone = known.on_disk is None and not (known.discarded or known.is_skipped)
        if known.outcome == "done" and is_gone:
            gone = "the ledger has it as done, but its output is {}; it is made again".format(
                "damaged" if os.path.lexists(item.folder / stage) else "gone"
            )
            repairs.append(Repaired(item.id, stage, gone))
    return repairs


def with_parts(ledger: Ledger, journey: Journey, change: Change) -> tuple[Journey, Change]:
    """The item's journey and first change, given what stands of its parts: a step that splits has
    to run again where parts are gone that will be read."""
    for split in journey.graph.splits[journey.item.split]:
        end = journey.ended.get(split)
        if end is None and not journey.is_decided:
            journey, change = _with_parts_to_come(ledger, journey, change, split)
        if end is None or not end.has_output or journey.is_decided:
            continue
        is_read, home = journey.parts_will_be_read(split), journey.graph.home[split]
        if home and not is_read and all(name in journey.ended for name in home):
            continue
        if ledger.parts.count(journey.item.id, split, end.fingerprint) < (end.parts or 0):
            _take_up_parts(ledger, journey, split, end.fingerprint)
        standing, missing = standing_parts(ledger, journey, split, end.fingerprint, end.parts)
        if missing or len(standing) < (end.parts or 0):
            journey, change = _without(journey, split)
    return journey, change


def _with_parts_to_come(
    ledger: Ledger, journey: Journey, change: Change, split: str
) -> tuple[Journey, Change]:
    """The same where `split` waits for a step that runs again, and may then turn out to hold."""
    known = journey.known.get(split, Known())
    made = known.on_disk or known.fingerprint
    if known.parts is None or made is None or split in journey.entered:
        return journey, change
    standing, missing = standing_parts(ledger, journey, split, made, known.parts)
    are_whole = not missing and len(standing) == known.parts
    return (journey, change) if are_whole else _without(journey, split)


def _without(journey: Journey, *stages: str) -> tuple[Journey, Change]:
    """The item's journey and first change if these stages had not ended in an earlier run."""
    known = dict(journey.known)
    for stage in stages:
        if stage in known:
            known[stage] = replace(known[stage], on_disk=None, outcome=None, fingerprint=None)
    return first_change(
        journey.graph,
        journey.item,
        known,
        journey.parent,
        journey.depth,
        above=journey.above,
        own=journey.own,
    )


def _to_gather_again(journey: Journey) -> list[str]:
    """Steps of the item that will gather its parts, once these have been looked at."""
    graph, split = journey.graph, journey.item.split
    if journey.is_decided or not graph.splits[split]:
        return []
    return [name for name in graph.home[split] if not journey.has_met(name)]


def _take_up_parts(ledger: Ledger, above: Journey, split: str, made: str) -> None:
    """Enter the parts that are there and that the ledger, which may have been lost, has not."""
    for part in above.item.parts_with(split):
        mark = output_mark(part, split)
        if mark is not None and ledger.parts.one(part) is None:
            content = content_of(part.folder / split, part.parameters.text)
            if mark.fingerprint == above.graph.part_fingerprint(made, content):
                ledger.parts.admit(part, made, content, run=0)  # it enters with the others


def standing_parts(
    ledger: Ledger, above: Journey, split: str, made: str, many: int | None = None
) -> tuple[Positions, int]:
    """The parts of the item that need not be made again, and the number of those that would have
    to: made with another output than that of the fingerprint `made`, or gone and to be read.

    `many` is the number of parts, where it is known. Those beyond it are none any more, and still
    there if the run was killed before it had removed them.
    """
    standing, missing = Positions(), 0
    for row in ledger.parts.all(above.item.id, split):
        if many is not None and row.position >= many:
            continue
        if row.made == made and _stands(ledger, above, row, split):
            standing.add(row.position)
        else:
            missing += 1
    return standing, missing


def _stands(ledger: Ledger, above: Journey, row: PartRow, split: str) -> bool:
    graph = above.graph
    part = above.item.part(split, row.position, row.parameters)
    own = graph.part_fingerprint(row.made, row.content)
    known = with_own(part, own, with_disk(graph, part, ledger.parts.known(part)))
    if known[split].on_disk is not None and is_whole(part, split):
        return True
    if above.parts_will_be_read(split):
        return False
    journey, change = first_change(graph, part, known, above=above, own=own)
    journey, _ = with_parts(ledger, journey, change)
    return not journey.will_read_itself()


def with_own(part: Item, own: str, known: dict[str, Known]) -> dict[str, Known]:
    """`known`, and with it the part itself, if it is there as it was made with this fingerprint."""
    mark = output_mark(part, part.split)
    there = mark is not None and mark.fingerprint == own
    return {**known, part.split: Known(on_disk=own if there else None)}
