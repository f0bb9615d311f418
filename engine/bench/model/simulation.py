"""What a run would take with other workers, or other cores: recorded items replayed on the model.

`engine.bench.model` is that model, a discrete-event simulation of the engine.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.bench.model.recorded import RecordedItem, Recording
from engine.bench.model.run import ModelRun


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run would come to. `seconds` are from the first attempt to the end of the last item,
    and `throughput` is items that end a second of those, however they end.

    `busy`, `starved` and `blocked` are shares of the workers' time by stage, 0 to 1, and
    `processor` that of the cores' time. `bottleneck` is the busiest stage, None where none was.
    `most_held` is the most items that each stage's pool held at once.
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
    seed: int = 0,
) -> Prediction:
    """Replay `items` items (all that were recorded, in their order, if None) with these workers.

    As many as were recorded are replayed once each; more are drawn with replacement, fewer without,
    by `seed`. What is not in `workers`, `queues` and `cores` is as it was recorded. `rates` are
    items a second that may start at a host, or whatever the stages' gates go by.

    Raises ValueError for a stage that the recording does not know, fewer than one worker, and
    fewer than one item.
    """
    for name, count in {**(queues or {}), **workers}.items():
        if name not in recording.stages:
            raise ValueError(f"no stage {name!r} was recorded; there are: {recording.stages}")
        if count < 1:
            raise ValueError(f"stage {name!r} needs at least 1, not {count}")
    chosen = _draw(recording.items, items, seed)
    run = ModelRun(
        recording,
        {**recording.workers, **workers},
        {**recording.queues, **(queues or {})},
        cores if cores is not None else recording.cores,
        rates or {},
    )
    run.execute(chosen)
    return _prediction(recording.stages, run, len(chosen))


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
