"""The policy of a sweep: the configurations of each rung, their items, and the recommendation.

Pure policy: it knows neither processes nor clocks, only `evaluate`.

Successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and
hyperparameter optimization", AISTATS 2016, arXiv:1502.07943) spends the same on each rung: many
configurations on few items, then the best third of them on three times as many.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from engine.bench.configuration import Configuration
from engine.bench.intervals import Interval, interval
from engine.bench.trial import Trial

ETA = 3
"""The best 1/ETA of a rung go on, with ETA times the items."""

AS_GOOD = 0.98
"""A throughput of at least this share of the best's is as good as the best."""

Evaluate = Callable[[Configuration, int], Trial]
"""Runs a configuration on this number of items."""


@dataclass(frozen=True, slots=True)
class Rung:
    """This many configurations, each tried on this many items."""

    configurations: int
    items: int


def rungs(configurations: int, items: int, fewest: int) -> list[Rung]:
    """Successive halving from at least `fewest` items to all; the whole grid on all items where the
    grid is small, or where there are too few items for a smaller rung.

    The last rung has all items and at least ETA configurations, or all if there are fewer.
    """
    steps = 0
    while configurations >= ETA ** (steps + 2) and items >= fewest * ETA ** (steps + 1):
        steps += 1
    return [
        Rung(ceil(configurations / ETA**step), ceil(items / ETA ** (steps - step)))
        for step in range(steps + 1)
    ]


def sweep(
    grid: Sequence[Configuration], plan: Sequence[Rung], repeats: int, evaluate: Evaluate
) -> Iterator[Trial]:
    """Try the configurations as planned; yields each trial as it ends.

    In each round every configuration has one turn, in an order that changes from round to round: so
    a slow spell of the machine hits all of them alike. A configuration that could not run is not
    tried again.
    """
    remaining = list(grid)
    for rung in plan:
        remaining = remaining[: rung.configurations]
        trials: list[Trial] = []
        for number in range(repeats):
            shift = number % len(remaining)
            broken = {trial.configuration for trial in trials if trial.problem is not None}
            for configuration in remaining[shift:] + remaining[:shift]:
                if configuration not in broken:
                    trials.append(evaluate(configuration, rung.items))
                    yield trials[-1]
        ranked = ratings(trials)
        remaining = [rating.configuration for rating in ranked if rating.problem is None]
        if not remaining:
            return


@dataclass(frozen=True, slots=True)
class Rating:
    """The trials of one configuration on the most items that it got."""

    configuration: Configuration
    items: int
    trials: Sequence[Trial]
    throughput: Interval
    """Items per second."""
    problem: str | None

    @property
    def typical(self) -> Trial:
        """The trial nearest to the median."""
        median = self.throughput.median
        return min(self.trials, key=lambda trial: abs(trial.throughput - median))

    @property
    def peak_memory(self) -> int | None:
        return _highest([trial.peak_memory for trial in self.trials])

    @property
    def peak_disk(self) -> int | None:
        return _highest([trial.peak_disk for trial in self.trials])

    @property
    def failed(self) -> int:
        """Items that failed, in the worst of the trials."""
        return max(trial.failed for trial in self.trials)


def ratings(trials: Sequence[Trial]) -> list[Rating]:
    """Each configuration, rated on the most items that it got; the best first.

    Configurations that reached a later rung come first; of equals, the one with fewer workers.
    """
    by_configuration: dict[Configuration, list[Trial]] = {}
    for trial in trials:
        by_configuration.setdefault(trial.configuration, []).append(trial)
    found = [_rating(configuration, own) for configuration, own in by_configuration.items()]
    return sorted(
        found,
        key=lambda rating: (
            rating.problem is not None,
            -rating.items,
            -rating.throughput.median,
            rating.configuration.total,
        ),
    )


def _rating(configuration: Configuration, trials: Sequence[Trial]) -> Rating:
    items = max(trial.items for trial in trials)
    last = [trial for trial in trials if trial.items == items]
    problem = next((trial.problem for trial in last if trial.problem is not None), None)
    measured = interval([trial.throughput for trial in last])
    return Rating(configuration, items, last, measured, problem)


def _highest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The configuration to take, the fastest one, and a sentence that compares them."""

    chosen: Rating
    best: Rating
    why: str


def recommend(found: Sequence[Rating]) -> Recommendation | None:
    """The configuration with the fewest workers among those as good as the best: their intervals
    overlap, or their median is close to it (AS_GOOD). Of equals the faster one. None if no trial
    came to its end.

    Only configurations count that were tried on the largest number of items.
    """
    whole = [rating for rating in found if rating.problem is None]
    if not whole:
        return None
    finals = [one for one in whole if one.items == max(rating.items for rating in whole)]
    best = max(finals, key=lambda one: (one.throughput.median, -one.configuration.total))
    as_good = [one for one in finals if _as_good(one, best)]
    chosen = min(as_good, key=lambda one: (one.configuration.total, -one.throughput.median))
    return Recommendation(chosen, best, _why(chosen, best, len(finals)))


def _as_good(one: Rating, best: Rating) -> bool:
    mine, others = one.throughput, best.throughput
    return mine.high >= others.low or mine.median >= AS_GOOD * others.median


def _why(chosen: Rating, best: Rating, finals: int) -> str:
    if chosen is best:
        return f"{chosen.configuration} is the fastest" + (
            "." if finals > 1 else ", the only one that was tried to the end."
        )
    repeats = len(best.trials)
    tell = "one run tells" if repeats == 1 else f"{repeats} runs of each tell"
    slower = 1 - chosen.throughput.median / best.throughput.median
    return (
        f"{chosen.configuration} is as fast as the fastest, {best.configuration}, as far as {tell} "
        f"(its median is {slower:.0%} lower), with {chosen.configuration.total} workers in place "
        f"of {best.configuration.total}."
    )
