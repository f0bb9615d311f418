"""How many machines and workers it takes for a time, or what time so many machines take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.bench.model.places import Nodes
from engine.bench.model.recorded import Recording
from engine.bench.model.simulation import simulate
from engine.bench.plan.amounts import Estimate
from engine.bench.plan.limits import Limit
from engine.contract.errors import UsageError

FULL = 0.9
"""The planned share of busy time of cores and workers: above it queues grow."""

TRIALS = 60
"""The most simulations before a plan counts as impossible."""

MOST_WORKERS = 100
"""The most workers of a stage on a machine, where only its number of machines is given."""

LONGER = 1.1
"""The factor by which a time that was too short is lengthened."""

FEWEST_SIMULATED, MOST_SIMULATED, SIMULATED_A_WORKER = 1000, 30_000, 40
"""Items that the model is asked about: enough for every worker to have its share of odd ones. Where
they have parts, so many parts, but at least FEWEST_WITH_PARTS items."""

FEWEST_WITH_PARTS = 50


MOST_ADDITIONS = 30
"""The most times that nodes are added, each time a twentieth, before more count as no help."""


@dataclass(frozen=True, slots=True)
class Size:
    """So many `machines`, with these `workers` on each, take `within` seconds. One needs the pace
    `needed`, in ordinary items per second, and has `pace` on the model. On a cluster they are its
    nodes, and all else is of the one run."""

    machines: int
    within: float
    workers: Mapping[str, int]
    needed: float
    pace: float


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: `items` like the recorded ones, on machines of `cores` cores. A worker of
    a stage works for so many `seconds` on each item; `limits` bound them all. Where `node` says
    what each node of a cluster has, machines are such nodes, beside one coordinator."""

    recording: Recording
    items: int
    cores: int
    seconds: Mapping[str, Estimate]
    limits: Sequence[Limit]
    seed: int
    node: Mapping[str, float] | None = None

    def share(self, machines: int) -> int:
        """The items of each run."""
        return self.items if self.node is not None else math.ceil(self.items / machines)

    @property
    def around(self) -> float:
        """Seconds before the first item and after the last."""
        made = self.recording
        return made.start_up + max(made.opening.values(), default=0.0) + made.finish

    def fitted(self, machines: int, time: float) -> Size | None:
        """Workers with which so many machines do their items in `time` seconds, by the model; None
        where more workers do not help."""
        recording = self.recording
        needed = self.items / (1 if self.node is not None else machines) / time
        nodes = Nodes(machines, self.node) if self.node is not None else None
        workers = {
            stage: max(1, math.ceil(needed * load.value / FULL))
            for stage, load in self.seconds.items()
        }
        most = self._most(nodes)
        workers = {stage: int(min(count, most[stage])) for stage, count in workers.items()}
        ordinary = sum(item.expanded is None for item in recording.items) / len(recording.items)
        steady = replace(
            recording,
            opening={},
            capacities=recording.capacities.without_rates(),
            most={stage: int(many) for stage, many in most.items() if many < math.inf},
        )
        share = self.share(machines)
        found = _fitted(steady, workers, needed / ordinary, share, self.cores, self.seed, nodes)
        if found is None:
            return None
        return Size(machines, time + self.around, found[0], needed, found[1] * ordinary)

    def _most(self, nodes: Nodes | None) -> dict[str, float]:
        """The largest number of workers of each stage: its own, and that of its places."""
        most = {stage: self.recording.most.get(stage) or math.inf for stage in self.seconds}
        if nodes is not None:
            for stage, takes in self.recording.placed.items():
                most[stage] = min(most[stage], nodes.workers(takes))
        return most


def machines_for(task: Task, within: float) -> Size:
    """As few machines as do it `within` seconds. A limit that they do not divide may take longer.

    On a cluster they are its nodes. What does not grow with those and takes longer sets the pace
    there: with more nodes it takes as long.

    Raises UsageError where no number of machines is enough.
    """
    time = within - task.around
    if time <= 0:
        opening = task.around - task.recording.finish
        raise UsageError(
            f"--within {within:g} seconds: opening the stages took {opening:.0f} seconds when it "
            f"was recorded, and the end {task.recording.finish:.0f}; give more"
        )
    if task.node is not None:
        common = (limit.seconds.value for limit in task.limits if not limit.divides)
        time = max(time, max(common, default=0.0) / FULL)
    least = max(limit.seconds.value for limit in task.limits if limit.divides) / (FULL * time)
    machines, added = max(1, math.ceil(least)), 0
    while (found := task.fitted(machines, time)) is None:
        added += 1
        if task.share(machines) == 1 or (task.node is not None and added > MOST_ADDITIONS):
            raise UsageError(
                f"--within {within:g} seconds: a single item may take longer; give more"
            )
        machines += max(1, machines // 20)
    return replace(found, within=within)


def time_for(task: Task, machines: int) -> Size:
    """The shortest time that so many machines take, to a tenth."""
    on_cluster = task.node is not None
    full = [
        limit.on(machines) / (FULL if limit.divides or on_cluster else 1) for limit in task.limits
    ]
    # A single item takes its time, and a machine has not any number of workers.
    alone = sum(load.value for load in task.seconds.values())
    share = task.share(machines) / (FULL * MOST_WORKERS)
    elsewhere = task.recording.placed if on_cluster else {}
    own = [load.value for stage, load in task.seconds.items() if stage not in elsewhere]
    time = max(alone, *full, *(share * load for load in own))
    while (found := task.fitted(machines, time)) is None:
        time *= LONGER
    return found


def _fitted(
    recording: Recording,
    workers: dict[str, int],
    needed: float,
    share: int,
    cores: int,
    seed: int,
    nodes: Nodes | None,
) -> tuple[dict[str, int], float] | None:
    """Workers with which the model of one machine, or of one run on these nodes, does `needed`
    items a second, and its pace with them; None where more workers do not help."""
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
        found = simulate(recording, workers, items=count, cores=cores, nodes=nodes, seed=seed)
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
