"""The recorded work of a ledger: the time of each item in each stage, split into its causes.

A recorded attempt took time for three reasons: it waited for others (a network, a disk, a GPU), it
ran on a core, and it was ready to run while no core was free. Only the first two stay the same when
the workers change. The third is left out here; the model makes it anew.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median

from engine.bench.model.attempts import PastAttempt, RunTimes, read_attempts, read_ends, read_runs
from engine.bench.model.helper_threads import helper_cores
from engine.config.load import Config, load_config
from engine.contract.errors import WorkFolderError
from engine.contract.item import Item
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage
from engine.gates.capacity import Capacities
from engine.ledger.reader import LedgerReader
from engine.ledger.records import Settled
from engine.telemetry.cores import available_cores
from engine.workers.base import StageFactory

LEAST_WAIT = 0.05
"""A stage whose first item waited longer than this, in seconds, was still being opened."""

LEAST_GAPS = 5
"""The least number of pauses between two attempts of a stage's workers that
is enough to learn from."""

LONGEST_HANDOVER = 0.1
"""Seconds: a longer pause between two attempts is waiting and not the engine's own work."""


@dataclass(frozen=True, slots=True)
class Service:
    """One attempt. It waits for `wait` seconds at any load, and needs `processor` seconds of core
    time, on up to `cores` cores at once. Before it the item was held outside the workers for
    `pause` seconds, as for a retry."""

    wait: float
    processor: float = 0.0
    cores: float = 1.0
    pause: float = 0.0

    @property
    def seconds(self) -> float:
        """Its duration where enough cores are free."""
        return self.wait + self.processor / self.cores


@dataclass(frozen=True, slots=True)
class Visit:
    """One item in one stage: its attempts in order, and its outcome. `key`
    names its gate, usually a host."""

    services: Sequence[Service]
    outcome: Settled = "done"
    key: str | None = None

    @property
    def seconds(self) -> float:
        """A worker's seconds over all attempts, where enough cores are free."""
        return sum(service.seconds for service in self.services)

    @property
    def processor(self) -> float:
        """Seconds of core time over all attempts."""
        return sum(service.processor for service in self.services)


@dataclass(frozen=True, slots=True)
class RecordedItem:
    """All of one item's visits, kept together: a long item is long in every stage. `expanded` is
    the number of items that it produced, None for an ordinary one."""

    id: str
    visits: Mapping[str, Visit]
    outcome: Settled = "done"
    expanded: int | None = None
    parts: Mapping[str, "Sequence[RecordedItem]"] = field(default_factory=dict)
    """By the step that made them, in order; a part has visits, and parts, of its own."""

    def visits_of(self, stage: str) -> "Iterator[Visit]":
        """The visits to the stage: the item's own, or those of its parts, at whatever level."""
        if stage in self.visits:
            yield self.visits[stage]
        for parts in self.parts.values():
            for part in parts:
                yield from part.visits_of(stage)


@dataclass(frozen=True)
class Recording:
    """A pipeline's recorded work, for the model of the engine to replay.

    `stages` are in topological order. `workers` and `queues` are those of the recorded run, `most`
    the largest numbers of workers that the stages can have. `opening` is the time from the first
    attempt until a stage was open, for stages that kept items waiting. The engine's own work
    between two attempts of a worker takes `handover` seconds. `capacities` are those of the gates.
    `start_up` seconds passed before the first attempt, and `finish` after the last item.
    """

    stages: Sequence[str]
    predecessors: Mapping[str, Sequence[str]]
    queues: Mapping[str, int]
    workers: Mapping[str, int]
    items: Sequence[RecordedItem]
    cores: int
    most: Mapping[str, int | None] = field(default_factory=dict)
    keep: Mapping[str, bool] = field(default_factory=dict)
    """Whether a stage's outputs are kept."""
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The further steps whose outputs a stage reads, besides its predecessors."""
    each: Mapping[str, str] = field(default_factory=dict)
    """The step that splits, for stages that stand at its parts."""
    most_failed: Mapping[str, float] = field(default_factory=dict)
    """Parts that may fail before their item does, for stages that split."""
    optional: Collection[str] = ()
    """The stages whose failure does not end the item."""
    opening: Mapping[str, float] = field(default_factory=dict)
    handover: float = 0.0
    capacities: Capacities = field(default_factory=Capacities)
    start_up: float = 0.0
    finish: float = 0.0
    seconds: float = 0.0
    """Seconds from the first attempt of the recorded run to the end of its last."""
    ended: int = 0
    """Items that ended in that run."""
    knows_processor: bool = True
    """Whether the ledger has processor times: those of older versions have none, and then the whole
    of an attempt counts as waiting."""
    left_out: int = 0
    """Items of the ledger that cannot be replayed: they have not ended, or the ledger has no
    attempts for some of their stages."""

    @property
    def throughput(self) -> float:
        """Items that ended per second, in the recorded run."""
        return self.ended / self.seconds if self.seconds else 0.0

    @property
    def fan_out(self) -> float:
        """The mean number of items that a list produced; 0 if there was no list."""
        lists = [item.expanded for item in self.items if item.expanded is not None]
        return sum(lists) / len(lists) if lists else 0.0


def read_recording(workdir: Path, pipeline: Pipeline) -> Recording:
    """The recorded work of `pipeline` in the ledger of `workdir`.

    It holds the items of all runs, each stage of an item as of the last run that worked on it.
    Figures of a whole run (the pauses, the opening of stages) are those of the run with the most
    attempts. Raises WorkFolderError where there is no ledger, or nothing to learn from.
    """
    with LedgerReader(workdir) as reader:
        last = reader.last_run()
        attempts = read_attempts(workdir)
        runs = read_runs(workdir)
        ends = read_ends(workdir)
    ours = [attempt for attempt in attempts if attempt.stage in pipeline.names]
    if last is None or not ours:
        raise WorkFolderError(
            f"{workdir} has no finished attempt to learn from; run {pipeline.name!r} on a few "
            "items first"
        )
    if last.pipeline != pipeline.name:
        raise WorkFolderError(
            f"{workdir} holds the work of pipeline {last.pipeline!r}, not of {pipeline.name!r}"
        )
    config = load_config(pipeline, None, {}, (), {}, stored=last.settings)
    run = _longest(ours, runs)
    of_run = [attempt for attempt in ours if attempt.run == run.id]
    busy = _occupied(ours)
    apart = {n for n, stage in config.stages.items() if stage.options.placement == "process"}
    cores = run.cores or available_cores()
    helpers = helper_cores(of_run, busy, pipeline.names, apart)
    gates, limits = _Gates(pipeline, config, workdir), config.limits
    items = list(_items(ours, busy, helpers, pipeline, ends, gates))
    if not items:
        raise WorkFolderError(
            f"{workdir} has no item that was worked on from its start to its end; let a run of "
            f"{pipeline.name!r} come to its end first"
        )
    started = min(attempt.started for attempt in of_run)
    ended = max(attempt.ended for attempt in of_run)
    return Recording(
        stages=pipeline.names,
        predecessors={name: pipeline.predecessors(name) for name in pipeline.names},
        queues={name: stage.options.queue for name, stage in config.stages.items()},
        workers={name: _workers(name, config, of_run) for name in pipeline.names},
        items=items,
        cores=cores,
        most={name: pipeline[name].stage.max_workers for name in pipeline.names},
        keep={name: stage.options.keep for name, stage in config.stages.items()},
        reads={name: pipeline.reads(name) for name in pipeline.names},
        opening=_opening(of_run, pipeline, started),
        handover=_handover(of_run),
        capacities=Capacities(limits.rate, limits.concurrency, limits.keys),
        start_up=max(0.0, started - run.started),
        finish=max(0.0, run.ended - ended) if run.ended is not None else 0.0,
        seconds=ended - started,
        ended=len({attempt.item for attempt in of_run}),
        knows_processor=any(attempt.run_processor is not None for attempt in of_run),
        left_out=len(ends) - len(items),
    )


def _longest(attempts: Iterable[PastAttempt], runs: Mapping[int, RunTimes]) -> RunTimes:
    counts: defaultdict[int, int] = defaultdict(int)
    for attempt in attempts:
        counts[attempt.run] += 1
    return runs[max(counts, key=lambda run: (counts[run], run))]


def _occupied(attempts: Iterable[PastAttempt]) -> dict[int, float]:
    """The seconds for which each attempt occupied its worker, by the attempt's number.

    The attempts of a batch begin together and occupy one worker: they share its time. Reading a
    list occupies no worker, so such an attempt ends at the worker's next one at the latest.
    """

    def worker(attempt: PastAttempt) -> tuple[int, str, int]:
        return attempt.run, attempt.stage, attempt.worker

    occupied: dict[int, float] = {}
    for _, group in groupby(sorted(attempts, key=lambda a: (worker(a), a.started)), key=worker):
        line = list(group)
        while line:
            first = line[0]
            together = [first]
            if first.expanded is None:
                # Items of a batch are concluded in turn, so the first end is the end of their work.
                together += [a for a in line[1:] if a.started < first.ended and a.expanded is None]
            following = line[len(together) :]
            end = min(first.ended, following[0].started if following else first.ended)
            for attempt in together:
                occupied[attempt.id] = max(0.0, end - first.started) / len(together)
            line = following
    return occupied


def _items(
    attempts: Iterable[PastAttempt],
    busy: Mapping[int, float],
    helpers: Mapping[str, float],
    pipeline: Pipeline,
    ends: Mapping[str, tuple[str, Settled]],
    gates: "_Gates",
) -> Iterable[RecordedItem]:
    """The items that can be replayed, in the order of their first attempts."""
    by_item: defaultdict[str, defaultdict[str, list[PastAttempt]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for attempt in sorted(attempts, key=lambda attempt: attempt.started):
        by_item[attempt.item][attempt.stage].append(attempt)
    for item, by_stage in by_item.items():
        if item not in ends:
            continue
        source, outcome = ends[item]
        visits: dict[str, Visit] = {}
        expanded = None
        for stage in pipeline.names:
            tries = [a for a in by_stage.get(stage, ()) if a.run == by_stage[stage][-1].run]
            if tries and tries[-1].outcome in ("done", "dropped", "failed"):
                services = _services(tries, busy, helpers.get(stage, 0.0))
                ending: Settled = tries[-1].outcome  # type: ignore[assignment]
                visits[stage] = Visit(services, ending, gates.key(stage, item, source))
                expanded = tries[-1].expanded if expanded is None else expanded
        if visits and all(set(pipeline.predecessors(name)) <= visits.keys() for name in visits):
            yield RecordedItem(item, visits, outcome, expanded)


def _services(
    tries: Sequence[PastAttempt], busy: Mapping[int, float], helpers: float
) -> tuple[Service, ...]:
    """The attempts as services; `helpers` is the number of cores that
    helper threads keep busy meanwhile."""
    services = []
    before = tries[0].started
    for attempt in tries:
        taken = max(busy[attempt.id] - (attempt.delayed or 0.0), 0.0)
        processor = (attempt.processor or 0.0) + helpers * busy[attempt.id]
        # More processor time than duration: it ran on several cores and hardly waited.
        cores = max(1.0, processor / taken) if taken > 0 else 1.0
        wait = max(0.0, taken - processor / cores)
        services.append(Service(wait, processor, cores, max(0.0, attempt.started - before)))
        before = attempt.ended
    return tuple(services)


def _workers(name: str, config: Config, attempts: Iterable[PastAttempt]) -> int:
    """The number of workers that was set; for "auto" the most that were at work at once."""
    workers = config.stages[name].options.workers
    if workers != "auto":
        return workers
    changes = [(a.started, 1) for a in attempts if a.stage == name]
    changes += [(a.ended, -1) for a in attempts if a.stage == name]
    most = at_work = 0
    for _, change in sorted(changes):
        at_work += change
        most = max(most, at_work)
    return max(1, most)


def _handover(attempts: Iterable[PastAttempt]) -> float:
    """Seconds between two attempts of a worker that need not wait: the median pause of the stage
    with the shortest one."""
    gaps: defaultdict[str, list[float]] = defaultdict(list)
    last: dict[tuple[str, int], float] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.started):
        worker = (attempt.stage, attempt.worker)
        if worker in last and attempt.started >= last[worker]:
            gaps[attempt.stage].append(attempt.started - last[worker])
        last[worker] = max(attempt.ended, last.get(worker, 0.0))
    typical = [median(some) for some in gaps.values() if len(some) >= LEAST_GAPS]
    return min(typical) if typical and min(typical) <= LONGEST_HANDOVER else 0.0


def _opening(
    attempts: Sequence[PastAttempt], pipeline: Pipeline, started: float
) -> dict[str, float]:
    """Seconds from the first attempt until a stage was open, for stages that kept items waiting."""
    ends: defaultdict[str, dict[str, float]] = defaultdict(dict)
    firsts: dict[str, PastAttempt] = {}
    for attempt in attempts:
        ends[attempt.item][attempt.stage] = attempt.ended
        first = firsts.get(attempt.stage)
        if first is None or attempt.started < first.started:
            firsts[attempt.stage] = attempt
    opening = {}
    for stage, first in firsts.items():
        before = pipeline.predecessors(stage)
        # The item of the stage's first attempt was the first to arrive there.
        ready = max((ends[first.item].get(name, started) for name in before), default=started)
        if first.started - ready > LEAST_WAIT:
            opening[stage] = first.started - started
    return opening


class _Gates:
    """Finds the gate of an item by asking its stage, as the pools do."""

    def __init__(self, pipeline: Pipeline, config: Config, workdir: Path) -> None:
        self._workdir = workdir
        self._inputs = {name: pipeline.inputs(name) for name in pipeline.names}
        self._stages = {
            name: StageFactory(pipeline[name].stage, stage.settings, workdir, name)()
            for name, stage in config.stages.items()
            if pipeline[name].stage.gate is not Stage.gate
        }

    def key(self, stage: str, item: str, source: str) -> str | None:
        probe = self._stages.get(stage)
        if probe is None:
            return None
        try:
            return probe.gate(Item.at(self._workdir, source, item).with_inputs(self._inputs[stage]))
        except Exception:  # the stage's own code failed, as it did in the run
            return None
