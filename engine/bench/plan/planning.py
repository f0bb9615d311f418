"""Plans the workers and machines for a number of items in a given time, and finds the limits.

Everything follows from the record of each item: its workers' seconds, its core seconds, its hosts,
its disk space, its costs. The numbers of workers are tried on the model of the engine, and raised
until the model keeps the pace.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.bench.model.recorded import Recording
from engine.bench.model.simulation import simulate
from engine.bench.plan.amounts import Amounts, Estimate
from engine.bench.plan.footprint import Footprint
from engine.contract.errors import UsageError

FULL = 0.9
"""The planned share of busy time of cores and workers: above it queues grow."""

TRIALS = 60
"""The most simulations before a plan counts as impossible."""

FEWEST_SIMULATED, MOST_SIMULATED, SIMULATED_A_WORKER = 1000, 30_000, 40
"""Items that the model is asked about: enough for every worker to have its share of odd ones. Where
they have parts, so many parts, but at least FEWEST_WITH_PARTS items."""

FEWEST_WITH_PARTS = 50


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
class Limit:
    """A limited resource: `seconds` is the time that all items would take if it were the only
    limit. `seconds` are for one machine where `divides`, which means that two machines take half as
    long."""

    what: str
    seconds: Estimate
    divides: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan for `items` items `within` seconds.

    `machines` are of `cores` cores each, with `stages` on every one. `processor` (core seconds),
    `costs` and `disk` (bytes that stay, None where unknown) are of all items together. `limits` are
    ordered by their time, the longest first: the first one binds. `pace` is one machine's items per
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
    needed: float
    pace: float
    recorded: int
    recorded_parts: int
    notes: Sequence[str]

    @property
    def binds(self) -> Limit:
        """The limit that binds one machine."""
        return self.limits[0]

    @property
    def in_time(self) -> bool:
        """Whether the machines finish in time: a limit that they do not divide may take longer."""
        return all(limit.seconds.value <= self.within for limit in self.limits if not limit.divides)


def make_plan(
    recording: Recording,
    footprint: Footprint,
    items: int,
    within: float,
    *,
    rates: Mapping[str, float] | None = None,
    cores: int | None = None,
    seed: int = 0,
) -> Plan:
    """The plan for `items` items like the recorded ones `within` seconds.

    `rates` are per second: starts at a host, or units of a cost that the pipeline counts. `cores`
    is the number per machine, by default that of the recorded one. Raises UsageError where a rate
    names neither a host nor a cost of the recording, and where no number of machines is enough.
    """
    rates = rates or {}
    cores = cores or recording.cores
    amounts = Amounts(recording, footprint, seed)
    limits = [Limit(f"{cores} cores", amounts.processor().times(items / cores), divides=True)]
    for stage in recording.stages:
        most = recording.most.get(stage)
        if most is not None:
            what = f"{most} worker" if most == 1 else f"{most} workers"
            alone = amounts.of_stage("seconds", stage).times(items / most)
            limits.append(Limit(f"{stage}: {what} at most", alone, divides=True))
    limits += _limits_by_rate(recording, amounts, rates, items)
    seconds = {stage: amounts.of_stage("seconds", stage) for stage in recording.stages}
    each = recording.each
    parts = {split: amounts.parts(split) for split in set(each.values())}
    machines, workers, needed, pace = _sized(recording, seconds, limits, items, within, cores, seed)
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
    return Plan(
        items=items,
        within=within,
        machines=machines,
        cores=cores,
        stages=stages,
        processor=amounts.processor().times(items),
        costs={name: amounts.cost(name).times(items) for name in amounts.costs},
        disk=amounts.kept().times(items) if known else None,
        limits=sorted(limits, key=lambda limit: -limit.seconds.value),
        needed=needed,
        pace=pace,
        recorded=len(recording.items),
        recorded_parts=amounts.recorded_parts,
        notes=notes,
    )


def _limits_by_rate(
    recording: Recording, amounts: Amounts, rates: Mapping[str, float], items: int
) -> list[Limit]:
    keys, limits = amounts.keys, []
    for name, rate in rates.items():
        if name in keys:
            needed, word = amounts.starts(name), "started"
        elif name in amounts.costs:
            needed, word = amounts.cost(name), "in all"
        else:
            known = ", ".join([*keys[:5], *amounts.costs]) or "none"
            raise UsageError(
                f"--rate {name}: nothing that was recorded goes there; there are: {known}"
            )
        what = f"{name}: {_per_hour(rate)} {word}"
        limits.append(Limit(what, needed.times(items / rate), divides=False))
    # Every machine applies the rates of the settings on its own.
    capacities = recording.capacities
    paced = [key for key in keys if key not in rates and capacities.rate_of(key)]
    own = [key for key in paced if capacities.has_own_rate(key)]
    most_frequent = [key for key in paced if key not in own][:1]
    for name in own + most_frequent:
        rate = capacities.rate_of(name)
        setting = f'limits.keys."{name}".rate' if name in own else "limits.rate"
        seconds = amounts.starts(name).times(items / rate)
        limits.append(Limit(f"{name}: {setting} = {rate:g}", seconds, divides=True))
    return limits


def _per_hour(rate: float) -> str:
    return f"{3600 * rate:,.0f} an hour" if 3600 * rate >= 10 else f"{86400 * rate:,.3g} a day"


def _sized(
    recording: Recording,
    seconds: Mapping[str, Estimate],
    limits: Sequence[Limit],
    items: int,
    within: float,
    cores: int,
    seed: int,
) -> tuple[int, dict[str, int], float, float]:
    """The number of machines, the workers of each stage on one, the pace that one needs and the
    pace that it has on the model, in ordinary items per second."""
    ordinary = sum(item.expanded is None for item in recording.items) / len(recording.items)
    steady = replace(recording, opening={}, capacities=recording.capacities.without_rates())
    opening = recording.start_up + max(recording.opening.values(), default=0.0)
    time = within - opening - recording.finish
    if time <= 0:
        raise UsageError(
            f"--within {within:g} seconds: opening the stages took {opening:.0f} seconds when it "
            f"was recorded, and the end {recording.finish:.0f}; give more"
        )
    least = max(limit.seconds.value for limit in limits if limit.divides) / (FULL * time)
    machines = max(1, math.ceil(least))
    while True:
        needed = items / machines / time
        workers = {
            stage: max(1, math.ceil(needed * load.value / FULL)) for stage, load in seconds.items()
        }
        most = {stage: recording.most.get(stage) or max(workers.values()) for stage in workers}
        workers = {stage: min(count, most[stage]) for stage, count in workers.items()}
        share = math.ceil(items / machines)
        fitted = _fitted(steady, workers, needed / ordinary, share, cores, seed)
        if fitted is not None:
            return machines, fitted[0], needed, fitted[1] * ordinary
        if share == 1:
            raise UsageError(
                f"--within {within:g} seconds: a single item may take longer; give more"
            )
        machines += max(1, machines // 20)


def _fitted(
    recording: Recording,
    workers: dict[str, int],
    needed: float,
    share: int,
    cores: int,
    seed: int,
) -> tuple[dict[str, int], float] | None:
    """Workers with which the model of one machine does `needed` items a second, and its pace with
    them; None where more workers do not help."""
    splits = set(recording.each.values())
    many = sum(1 for item in recording.items for split in splits for _ in item.parts_of(split))
    parts = many / len(recording.items)
    for _ in range(TRIALS):
        count = min(
            MOST_SIMULATED, max(FEWEST_SIMULATED, SIMULATED_A_WORKER * sum(workers.values()))
        )
        if parts > 1:
            count = max(FEWEST_WITH_PARTS, math.ceil(count / parts))
        count = max(1, min(count, share))
        found = simulate(recording, workers, items=count, cores=cores, seed=seed)
        if found.throughput >= needed:
            return workers, found.throughput
        free = {
            stage: found.busy[stage]
            for stage in recording.stages
            if workers[stage] < (recording.most.get(stage) or math.inf)
        }
        if not free or found.processor > 0.98:
            return None
        busiest = max(free, key=free.__getitem__)
        workers = workers | {busiest: workers[busiest] + max(1, workers[busiest] // 20)}
        limit = recording.most.get(busiest)
        if limit is not None:
            workers[busiest] = min(limit, workers[busiest])
    return None


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
