"""Predicts a run with other workers or cores: replays recorded items on the model.

The model, a discrete-event simulation of the engine, is `engine.bench.model`.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.bench.model.places import Nodes
from engine.bench.model.recorded import RecordedItem, Recording
from engine.bench.model.run import ModelRun


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted run. `seconds` are from the first attempt to the end of the last item, and
    `throughput` is items that end per second, however they end.

    `busy`, `starved` and `blocked` are shares of the workers' time by stage, 0 to 1, and
    `processor` is the used share of the cores' time. `bottleneck` is the busiest stage, None if
    none was busy. `most_held` is the most items that each stage's pool held at once.
    """

    seconds: float
    throughput: float
    busy: Mapping[str, float]
    starved: Mapping[str, float]
    blocked: Mapping[str, float]
    bottleneck: str | None
    processor: float
    most_held: Mapping[str, int]


def simulate(
    recording: Recording,
    workers: Mapping[str, int],
    *,
    items: int | None = None,
    queues: Mapping[str, int] | None = None,
    cores: float | None = None,
    rates: Mapping[str, float] | None = None,
    machines: int = 1,
    nodes: Nodes | None = None,
    seed: int = 0,
) -> Prediction:
    """Replay `items` items with these workers; None: all recorded items, in their order.

    On several `machines`, each with these workers and cores, they share the items, `rates`, and the
    recorded rates where the recorded run shared its gates. Machines take turns at a gate, so one
    with its part of the rates stands for all; the throughput is that of all.

    Stages that were on a cluster take nothing of `cores`: they share `nodes`, as far as these have
    places; None: every worker has its place.

    The recorded number of items is replayed once each; a larger number is drawn with replacement, a
    smaller one without, by `seed`. A stage that `workers` or `queues` does not name, and `cores`
    None, are as recorded. `rates` are starts per second at a host, or at another key of a gate.

    Raises ValueError for a stage that the recording does not have, fewer than one worker, and fewer
    than one item.
    """
    for name, count in {**(queues or {}), **workers}.items():
        if name not in recording.stages:
            raise ValueError(f"no stage {name!r} was recorded; there are: {recording.stages}")
        if count < 1:
            raise ValueError(f"stage {name!r} needs at least 1, not {count}")
    count = len(recording.items) if items is None else items
    chosen = _draw(recording.items, math.ceil(count / machines), seed)
    if recording.shares_gates:
        recording = replace(recording, capacities=recording.capacities.shared_by(machines))
    run = ModelRun(
        recording,
        {**recording.workers, **workers},
        {**recording.queues, **(queues or {})},
        cores if cores is not None else recording.cores,
        {key: rate / machines for key, rate in (rates or {}).items()},
        nodes=nodes,
    )
    run.execute(chosen)
    return _prediction(recording.stages, run, len(chosen) * machines)


def _draw(recorded: Sequence[RecordedItem], count: int | None, seed: int) -> Sequence[RecordedItem]:
    if count is None or count == len(recorded):
        return recorded
    if count < 1:
        raise ValueError(f"at least 1 item has to be replayed, not {count}")
    generator = random.Random(seed)
    if count < len(recorded):
        return generator.sample(recorded, count)
    return generator.choices(recorded, k=count)


def _prediction(stages: Sequence[str], run: ModelRun, items: int) -> Prediction:
    seconds, pools = run.seconds, dict(zip(stages, run.pools, strict=True))
    worked = {name: pool.workers * seconds or 1.0 for name, pool in pools.items()}
    busy = {name: pool.busy.seconds(run.now) / worked[name] for name, pool in pools.items()}
    blocked = {name: pool.blocked.seconds(run.now) / worked[name] for name, pool in pools.items()}
    busiest = max(busy, key=busy.__getitem__)
    return Prediction(
        seconds=seconds,
        throughput=items / seconds if seconds else float("inf"),
        busy=busy,
        blocked=blocked,
        starved={name: max(0.0, 1 - busy[name] - blocked[name]) for name in pools},
        bottleneck=busiest if busy[busiest] > 0 else None,
        processor=run.processor.given(run.now) / (run.processor.cores * seconds or 1.0),
        most_held={name: pool.most_held for name, pool in pools.items()},
    )
