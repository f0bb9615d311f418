"""Results of a sweep that nobody has run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.bench.configuration import grid
from engine.bench.results import Results
from engine.bench.sweep import Rung
from engine.bench.trial import StageShares, Trial

STAGES = ("fetch", "<work>")
"""One has a name that has to be escaped where it is shown."""


def results(numbers: Sequence[int] = (1, 2, 4), *, repeats: int = 3, **changes: Any) -> Results:
    """Four workers are fastest, two nearly so; the model is 20% too high with one."""
    tries = {"fetch": tuple(numbers), "<work>": (1,)}
    measured = [
        Trial(
            configuration,
            items=10,
            seconds=100.0,
            throughput=_rate(configuration.workers["fetch"]) * (1 + 0.05 * number),
            outcomes={"done": 8, "dropped": 1, "failed": 1},
            stages={
                "fetch": StageShares(configuration.workers["fetch"], 0.9, 0.0, 0.05),
                "<work>": StageShares(1, 0.25, 0.7, 0.0),
            },
            bottleneck="fetch",
            sentence="fetch is the bottleneck: give it more workers.",
            peak_memory=500_000_000,
            peak_disk=7_000_000,
        )
        for configuration in grid(tries)
        for number in range(repeats)
    ]
    measured = [replace(t, seconds=t.ended / t.throughput) for t in measured]
    predicted = [
        replace(
            trial,
            throughput=_rate(trial.configuration.workers["fetch"])
            * (1.2 if trial.configuration.workers["fetch"] == 1 else 1.0),
            simulated=True,
            outcomes=None,
            sentence=None,
            peak_memory=None,
            peak_disk=None,
        )
        for trial in measured[::repeats]
    ]
    made = Results(
        pipeline="toy",
        command="penstock bench toy --from '</script>' --try fetch=1,2,4",
        tries=tries,
        stages=STAGES,
        most={"<work>": 1},
        items=10,
        repeats=repeats,
        plan=[Rung(len(numbers), 10)],
        measured=measured,
        predicted=predicted,
        settings={},
    )
    return replace(made, **changes)


def _rate(workers: int) -> float:
    """Items per second."""
    return 0.1 * min(workers, 3) ** 0.5
