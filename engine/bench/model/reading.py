"""Reads a recording from a ledger: its items, and the figures of the run that did most of them.

A recorded attempt took time for three reasons: it waited for others (a network, a disk, a GPU), it
ran on a core, and it was ready to run while no core was free. Only the first two stay the same when
the workers change. The third is left out here; the model makes it anew. So is the time in which an
attempt that splits its item waited for room for a part.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median

from engine.bench.model.attempts import PastAttempt, RunTimes, read_attempts, read_runs
from engine.bench.model.helper_threads import helper_cores
from engine.bench.model.past_items import PastItems, read_past_items, replayable
from engine.bench.model.recorded import Recording
from engine.config.load import Config, load_config
from engine.contract.errors import WorkFolderError
from engine.contract.pipeline import Pipeline
from engine.gates.capacity import Capacities
from engine.ledger.reader import LedgerReader
from engine.telemetry.cores import available_cores

LEAST_WAIT = 0.05
"""A stage whose first item waited longer than this, in seconds, was still being opened."""

LEAST_GAPS = 5
"""The least number of pauses between two attempts of a stage's workers that
is enough to learn from."""

LONGEST_HANDOVER = 0.1
"""Seconds: a longer pause between two attempts is waiting and not the engine's own work."""


def read_recording(workdir: Path, pipeline: Pipeline) -> Recording:
    """The recorded work of `pipeline` in the ledger of `workdir`.

    It holds the items of all runs, each stage of an item as of the last run that worked on it, but
    for steps that were off in the last run. Figures of a whole run (the pauses, the opening of
    stages) are those of the run with the most attempts. Raises WorkFolderError where there is no
    ledger, or nothing to learn from.
    """
    with LedgerReader(workdir) as reader:
        last = reader.last_run()
        attempts = read_attempts(workdir)
        runs = read_runs(workdir)
        past = read_past_items(workdir)
    if last is not None and last.pipeline != pipeline.name:
        raise WorkFolderError(
            f"{workdir} holds the work of pipeline {last.pipeline!r}, not of {pipeline.name!r}"
        )
    settings = last.settings if last is not None else {}
    config = load_config(pipeline, None, {}, (), {}, stored=settings)
    pipeline = pipeline.without(config.off)
    ours = [attempt for attempt in attempts if attempt.stage in pipeline.names]
    if not ours:
        raise WorkFolderError(
            f"{workdir} has no finished attempt to learn from; run {pipeline.name!r} on a few "
            "items first"
        )
    run = _longest(ours, runs)
    of_run = [attempt for attempt in ours if attempt.run == run.id]
    busy = _occupied(ours)
    apart = {n for n, stage in config.stages.items() if stage.options.placement != "thread"}
    cores = run.cores or available_cores()
    helpers = helper_cores(of_run, busy, pipeline.names, apart)
    items = list(replayable(ours, past, busy, helpers, pipeline, config, workdir))
    limits = config.limits
    if not items:
        raise WorkFolderError(
            f"{workdir} has no item that was worked on from its start to its end, with the same "
            f"settings throughout; let a run of {pipeline.name!r} take one more item to its end"
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
        most={
            name: pipeline[name].stage.most_workers(config.stages[name].options.placement)
            for name in pipeline.names
        },
        keep={name: stage.options.keep for name, stage in config.stages.items()},
        reads={name: pipeline.reads(name) for name in pipeline.names},
        each={step.name: step.each for step in pipeline.steps if step.each},
        most_failed={name: stage.options.most_failed for name, stage in config.stages.items()},
        optional=[name for name, stage in config.stages.items() if stage.options.optional],
        opening=_opening(of_run, past, busy, pipeline, started),
        handover=_handover(of_run),
        placed={
            name: stage.options.resources
            for name, stage in config.stages.items()
            if stage.options.placement == "ray"
        },
        capacities=Capacities(limits.rate, limits.concurrency, limits.keys),
        shares_gates=limits.shared_gates is not None,
        start_up=max(0.0, started - run.started),
        finish=max(0.0, run.ended - ended) if run.ended is not None else 0.0,
        seconds=ended - started,
        ended=len({past.whole(attempt.item) for attempt in of_run}),
        knows_processor=any(attempt.run_processor is not None for attempt in of_run),
        left_out=past.ended - len(items),
    )


def _longest(attempts: Iterable[PastAttempt], runs: Mapping[int, RunTimes]) -> RunTimes:
    counts: defaultdict[int, int] = defaultdict(int)
    for attempt in attempts:
        counts[attempt.run] += 1
    return runs[max(counts, key=lambda run: (counts[run], run))]


def _occupied(attempts: Iterable[PastAttempt]) -> dict[int, float]:
    """The seconds for which each attempt occupied its worker, by the attempt's number.

    The attempts of a batch begin together and occupy one worker: they share its time. Reading a
    list occupies no worker, so such an attempt ends at the worker's next one at the latest. One
    that waits for room for its parts has its worker, and works no more than if there were room.
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
                worked = end - first.started - (attempt.blocked or 0.0)
                occupied[attempt.id] = max(0.0, worked) / len(together)
            line = following
    return occupied


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
    attempts: Sequence[PastAttempt],
    past: PastItems,
    busy: Mapping[int, float],
    pipeline: Pipeline,
    started: float,
) -> dict[str, float]:
    """Seconds from the first attempt until a stage was open, for stages that kept items waiting."""
    ends: defaultdict[tuple[str, str], float] = defaultdict(float)
    made: dict[tuple[str, str], float] = {}
    firsts: dict[str, PastAttempt] = {}
    for attempt in attempts:
        for item in past.line(attempt.item):  # what gathers its parts waits for the last of them
            ends[item, attempt.stage] = max(ends[item, attempt.stage], attempt.ended)
        if (parts := len(past.parts(attempt.item, attempt.stage))) > 0:
            first_made = attempt.started + busy[attempt.id] / parts
            made.setdefault((attempt.item, attempt.stage), first_made)
        first = firsts.get(attempt.stage)
        if first is None or attempt.started < first.started:
            firsts[attempt.stage] = attempt
    opening = {}
    for stage, first in firsts.items():
        # The item of the stage's first attempt was the first to arrive there.
        whose, ready = past.line(first.item), started
        for name in pipeline.predecessors(stage):
            there = made if name in pipeline.level(stage) else ends
            ready = max([ready, *(there[one, name] for one in whose if (one, name) in there)])
        if first.started - ready > LEAST_WAIT:
            opening[stage] = first.started - started
    return opening
