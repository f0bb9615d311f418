"""The grid on the model instead of the machine, and the error of the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.bench.configuration import Configuration
from engine.bench.intervals import Interval, interval
from engine.bench.sweep import Rating, ratings, recommend
from engine.bench.trial import StageShares, Trial
from engine.config.load import Config
from engine.contract.errors import UsageError

if TYPE_CHECKING:
    from engine.bench.model.places import Nodes
    from engine.bench.model.recorded import Recording

CLOSE = 0.10
"""The share by which a predicted throughput may be off."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The model's prediction for a configuration and the measurement, in items per second."""

    configuration: Configuration
    predicted: float
    measured: Interval

    @property
    def error(self) -> float:
        """The error of the prediction as a share of the measurement; over 0: too high."""
        return self.predicted / self.measured.median - 1


def fixed_workers(config: Config, tried: Iterable[str]) -> Mapping[str, int]:
    """The workers of the stages that are not tried. Raises UsageError where they are "auto": the
    model needs a number."""
    fixed = {}
    for name, stage in config.stages.items():
        if name in tried:
            continue
        if stage.options.workers == "auto":
            raise UsageError(
                f'stages.{name}.workers is "auto", which the model does not know: give '
                f"--try {name}=… or --set stages.{name}.workers=…"
            )
        fixed[name] = stage.options.workers
    return fixed


def predict(
    recording: "Recording",
    configuration: Configuration,
    fixed: Mapping[str, int],
    items: int,
    *,
    cores: int | None = None,
    machines: int = 1,
    nodes: "Nodes | None" = None,
    seed: int = 0,
) -> Trial:
    """The model's prediction for the configuration on `items` items, of each of the `machines`, or
    of one run with these `nodes` of a cluster. It is of the steps that were recorded: others were
    off."""
    from engine.bench.model.simulation import simulate

    set_now = {**fixed, **configuration.workers}
    workers = {name: count for name, count in set_now.items() if name in recording.stages}
    found = simulate(
        recording, workers, items=items, cores=cores, machines=machines, nodes=nodes, seed=seed
    )
    return Trial(
        configuration,
        items,
        seconds=found.seconds,
        throughput=found.throughput,
        stages={
            name: StageShares(count, found.busy[name], found.starved[name], found.blocked[name])
            for name, count in workers.items()
        },
        bottleneck=found.bottleneck,
        simulated=True,
    )


def worth_checking(
    grid: Sequence[Configuration], predicted: Sequence[Trial], count: int
) -> list[Configuration]:
    """The `count` configurations that the model ranks best, among them its recommendation; and the
    first of the grid, so that the model is checked on a slow one too."""
    ranked = [rating.configuration for rating in ratings(predicted)]
    found = recommend(ratings(predicted))
    chosen = [found.chosen.configuration] if found is not None else []
    best = list(dict.fromkeys([*chosen, *ranked]))[:count]
    return list(dict.fromkeys([*best, grid[0]])) if count else []


def checks(predicted: Sequence[Trial], measured: Sequence[Trial]) -> list[Comparison]:
    """The model against the machine, for each configuration with both."""
    by_configuration: dict[Configuration, Rating] = {
        rating.configuration: rating for rating in ratings(predicted)
    }
    found = []
    for rating in ratings(measured):
        paces = [trial.pace for trial in rating.trials if trial.pace > 0]
        model = by_configuration.get(rating.configuration)
        if model is not None and paces:
            said = model.throughput.median
            found.append(Comparison(rating.configuration, said, interval(paces)))
    return found
