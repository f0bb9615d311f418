"""Plans the workers and machines for a number of items in a given time, and finds the limits.

Everything follows from the record of each item: its workers' seconds, its core seconds, its hosts,
its disk space, its costs. The numbers of workers are tried on the model of the engine, and raised
until the model keeps the pace.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.bench.model.recorded import Recording
from engine.bench.plan.amounts import Amounts, Estimate
from engine.bench.plan.footprint import Footprint
from engine.bench.plan.limits import Fleet, Limit, limits_of
from engine.bench.plan.sizing import Task, machines_for, time_for

ALONE = Fleet()
"""Machines like the recorded one, which share nothing."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage. Amounts are per item that enters the pipeline, lists left out: `reached`,
    `dropped` and `failed` are shares of items, `seconds` those of a worker (with free cores),
    `processor` those of a core, `stored` bytes (None where its outputs were deleted). Where it
    stands at parts, `parts` is their number, and the shares are of them. `outputs` is the number
    that it leaves. `workers` is the number for each machine, `most` the largest number that the
    stage can use on one, and `held` the most of its outputs that one machine holds at once while
    others still read them."""

    stage: str
    reached: Estimate
    dropped: float
    failed: float
    seconds: Estimate
    processor: Estimate
    workers: int
    most: int | None
    keep: bool
    stored: Estimate | None
    held: int
    outputs: float
    parts: Estimate | None = None

    @property
    def passing(self) -> float | None:
        """The most bytes of its outputs on one machine at once, where they
        are deleted after use."""
        if self.stored is None or not self.outputs:
            return None
        return self.held * self.stored.value / self.outputs


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan for `items` items `within` seconds. `is_for_machines`: their number was given, and the
    time follows. `cluster`: they are one run, with one coordinator. `nodes`: the one machine is the
    coordinator of a cluster of so many nodes, each of which has what `node` says; what is told of
    machines is of nodes then, and `stages` are of the whole run.

    `machines` are of `cores` cores each, with `stages` on every one. `processor` (core seconds),
    `costs` and `disk` (bytes that stay, None where unknown) are of all items together. `limits` are
    ordered by their time, on one machine or on all where their number was given, the longest first:
    the first one binds. `pace` is one machine's items per
    second on the model, and `needed` the pace that it needs. `notes` are lines on what the figures
    leave out.
    """

    items: int
    within: float
    machines: int
    cores: int
    stages: Sequence[StagePlan]
    processor: Estimate
    costs: Mapping[str, Estimate]
    disk: Estimate | None
    limits: Sequence[Limit]
    is_for_machines: bool
    cluster: bool
    needed: float
    pace: float
    recorded: int
    recorded_parts: int
    notes: Sequence[str]
    nodes: int | None = None
    node: Mapping[str, float] | None = None

    @property
    def binds(self) -> Limit:
        """The limit that binds: one machine, or all of them where their number was given."""
        return self.limits[0]

    @property
    def in_time(self) -> bool:
        """Whether the machines finish in time: a limit that they do not divide may take longer."""
        return all(limit.seconds.value <= self.within for limit in self.limits if not limit.divides)

    @property
    def enough(self) -> tuple[int, Limit] | None:
        """The number of machines beyond which more do not help, and the limit that binds then;
        None where every limit is of the single machine."""
        common = [limit for limit in self.limits if not limit.divides and limit.seconds.value > 0]
        if not common:
            return None
        binds = max(common, key=lambda limit: limit.seconds.value)
        alone = max(limit.seconds.value for limit in self.limits if limit.divides)
        return max(1, math.ceil(alone / binds.seconds.value)), binds


def make_plan(
    recording: Recording,
    footprint: Footprint,
    items: int,
    within: float | None,
    *,
    machines: int | None = None,
    nodes: int | None = None,
    fleet: Fleet = ALONE,
    seed: int = 0,
) -> Plan:
    """The plan for `items` items like the recorded ones `within` seconds; or, where that is None,
    for so many `machines`, or `nodes` of a cluster: `fleet.node` says what each has.

    Raises UsageError where a rate names neither a host nor a cost of the recording, where no number
    of machines is enough, and where no step was on a cluster, or has no place on such a node.
    """
    cores = fleet.cores or recording.cores
    amounts = Amounts(recording, footprint, seed)
    limits = limits_of(recording, amounts, fleet, items)
    seconds = {stage: amounts.of_stage("seconds", stage) for stage in recording.stages}
    each = recording.each
    parts = {split: amounts.parts(split) for split in set(each.values())}
    task = Task(recording, items, cores, seconds, limits, seed, fleet.node)
    if within is not None:
        found, counted = machines_for(task, within), 1
    else:
        counted = nodes or machines or 1
        found = time_for(task, counted)
    workers = found.workers
    stages = [
        StagePlan(
            stage=stage,
            reached=amounts.of_stage("reached", stage),
            dropped=amounts.of_stage("dropped", stage).value,
            failed=amounts.of_stage("failed", stage).value,
            seconds=seconds[stage],
            processor=amounts.of_stage("processor", stage),
            workers=workers[stage],
            most=recording.most.get(stage),
            keep=recording.keep.get(stage, True),
            stored=amounts.stored(stage),
            held=_held(recording, workers, stage, parts),
            outputs=amounts.outputs(stage),
            parts=parts[each[stage]] if stage in each else None,
        )
        for stage in recording.stages
    ]
    known = all(one.stored is not None for one in stages if one.keep)
    notes = list(_notes(recording, stages, items))
    if fleet.cluster and not recording.handover:
        notes.append("How long the coordinator takes for an attempt is not known: record more.")
    return Plan(
        items=items,
        within=found.within,
        machines=found.machines if fleet.node is None else 1,
        cores=cores,
        stages=stages,
        processor=amounts.processor().times(items),
        costs={name: amounts.cost(name).times(items) for name in amounts.costs},
        disk=amounts.kept().times(items) if known else None,
        limits=sorted(limits, key=lambda limit: -limit.on(counted)),
        is_for_machines=within is None,
        cluster=fleet.cluster,
        needed=found.needed,
        pace=found.pace,
        recorded=len(recording.items),
        recorded_parts=amounts.recorded_parts,
        notes=notes,
        nodes=found.machines if fleet.node is not None else None,
        node=fleet.node,
    )


def _held(
    recording: Recording, workers: Mapping[str, int], stage: str, parts: Mapping[str, Estimate]
) -> int:
    """The most outputs of a stage that exist at once: those being made, and those that pools still
    hold, from the stage to its last reader. Where what gathers the parts reads them, those of all
    parts of the items that are under way until then."""
    before, each = recording.predecessors, recording.each
    after, needing, readers = {stage}, set[str](), list[str]()
    for name in recording.stages:
        if not after.isdisjoint(before[name]):
            after.add(name)
        if stage in (*before[name], *recording.reads.get(name, ())):
            readers.append(name)
    for name in reversed(recording.stages):
        if name in needing or name in readers:
            needing.update((name, *before[name]))
    holders = (after & needing) - {stage}
    slots = {name: recording.queues[name] + workers[name] for name in before}
    split = stage if stage in parts else each.get(stage)
    if split is not None and not any(each.get(name) == each.get(split) for name in readers):
        return workers[stage] + sum(slots[name] for name in holders)
    if split is not None:
        holders |= {name for name in each if each[name] == split}
    items = [
        math.ceil(slots[name] / max(1.0, parts[each[name]].value)) if name in each else slots[name]
        for name in holders
    ]
    if split is None:
        return workers[stage] + sum(items)
    return math.ceil(parts[split].value) * (workers[split] + sum(items))


def _notes(recording: Recording, stages: Sequence[StagePlan], items: int) -> list[str]:
    notes = []
    if items > 10 * recording.ended and recording.finish > 1:
        notes.append(
            f"What comes after the last item took {recording.finish:.0f} s for {recording.ended} "
            "items; how it grows is not known, and it is planned to take as long."
        )
    if not recording.knows_processor:
        notes.append(
            "The ledger is an older version's and does not tell work from waiting: the cores are "
            "unknown. Record a few items anew."
        )
    gone = [one.stage for one in stages if one.stored is None]
    if gone:
        notes.append(
            f"What {', '.join(gone)} stored was deleted (keep = false), so its size is unknown: "
            "record with keep = true to know."
        )
    if recording.left_out:
        notes.append(
            f"{recording.left_out} items of the ledger were left out: earlier runs than it knows "
            "had done a part of them."
        )
    return notes
