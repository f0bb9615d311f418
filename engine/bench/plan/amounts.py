"""Mean amounts of the recorded items, with confidence intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.bench.model.recorded import RecordedItem, Recording, Visit
from engine.bench.plan.footprint import Footprint
from engine.contract.errors import UsageError

RESAMPLES = 400
"""Number of bootstrap samples for each interval."""

Row = NDArray[np.float64]

Measure = Literal["seconds", "processor", "reached", "dropped", "failed"]

MEASURES: Mapping[Measure, Callable[[Visit | None], float]] = {
    "seconds": lambda visit: visit.seconds if visit else 0.0,
    "processor": lambda visit: visit.processor if visit else 0.0,
    "reached": lambda visit: float(visit is not None),
    "dropped": lambda visit: float(visit is not None and visit.outcome == "dropped"),
    "failed": lambda visit: float(visit is not None and visit.outcome == "failed"),
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """An amount and its 95% interval, if the recorded items are representative of those to come
    (bootstrap percentiles: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
    13)."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


class Amounts:
    """The amounts of the recorded items, each as a mean per ordinary item: the cost of a list is
    spread over the items that it produced."""

    def __init__(self, recording: Recording, footprint: Footprint, seed: int) -> None:
        items = recording.items
        self._ordinary = np.array([float(item.expanded is None) for item in items])
        if not self._ordinary.any():
            raise UsageError("only lists were recorded, and none of what they hold: record more")
        self._draws = np.random.default_rng(seed)
        self._items = items
        self._footprint = footprint
        self._sampled = [item for item in items if item.id in footprint.outputs]
        self._costed = [item for item in items if item.id in footprint.costs]
        self._keep = recording.keep
        self._stages = recording.stages
        self._of_stage = {
            stage: [item.visits.get(stage) for item in items] for stage in recording.stages
        }
        self.costs = sorted({name for costs in footprint.costs.values() for name in costs})

    def processor(self) -> Estimate:
        """Core seconds of all stages."""
        columns = [self._column("processor", stage) for stage in self._stages]
        return self._estimate(np.sum(columns, axis=0), self._ordinary)

    def of_stage(self, what: Measure, stage: str) -> Estimate:
        """A worker's seconds, core seconds, or the share of items that reach the stage, are dropped
        by it or fail in it."""
        return self._estimate(self._column(what, stage), self._ordinary)

    def starts(self, key: str) -> Estimate:
        """Attempts that pass the gate of `key`."""
        values = [
            sum(len(visit.services) for visit in item.visits.values() if visit.key == key)
            for item in self._items
        ]
        return self._estimate(np.array(values, dtype=float), self._ordinary)

    @property
    def keys(self) -> list[str]:
        """The keys of gates, the most frequent first."""
        counts: dict[str, int] = {}
        for item in self._items:
            for visit in item.visits.values():
                if visit.key is not None:
                    counts[visit.key] = counts.get(visit.key, 0) + len(visit.services)
        return sorted(counts, key=lambda key: (-counts[key], key))

    def cost(self, name: str) -> Estimate:
        """The cost of this name, as the pipeline counts it."""
        costs = self._footprint.costs
        values = [costs[item.id].get(name, 0.0) for item in self._costed]
        return self._of_some(self._costed, values)

    def stored(self, stage: str) -> Estimate | None:
        """Bytes of a stage's outputs; None if none is left to measure."""
        outputs = self._footprint.outputs
        if not any(stage in there for there in outputs.values()):
            gone = any(
                visit is not None and visit.outcome == "done" for visit in self._of_stage[stage]
            )
            return None if gone else Estimate(0.0, 0.0, 0.0)
        return self._of_some(self._sampled, [outputs[i.id].get(stage, 0) for i in self._sampled])

    def kept(self) -> Estimate:
        """Bytes that stay: the outputs of stages that keep them, and the
        rest of the work folder."""
        rest = self._footprint.rest / self._ordinary.sum()
        values = [
            sum(
                size
                for stage, size in self._footprint.outputs[item.id].items()
                if self._keep.get(stage, True)
            )
            for item in self._sampled
        ]
        found = self._of_some(self._sampled, values) if values else Estimate(0.0, 0.0, 0.0)
        return Estimate(found.value + rest, found.low + rest, found.high + rest)

    def _of_some(self, items: Sequence[RecordedItem], values: Sequence[float]) -> Estimate:
        return self._estimate(
            np.array(values, dtype=float),
            np.array([float(item.expanded is None) for item in items]),
        )

    def _column(self, what: Measure, stage: str) -> Row:
        values = np.array([MEASURES[what](visit) for visit in self._of_stage[stage]])
        return values if what in ("seconds", "processor") else values * self._ordinary

    def _estimate(self, values: Row, weights: Row) -> Estimate:
        """Sum of values over sum of weights, with the spread of that ratio
        over samples of the items."""
        whole = weights.sum()
        if whole <= 0:
            return Estimate(0.0, 0.0, 0.0)
        count = len(values)
        found = []
        for _ in range(RESAMPLES):
            chosen = self._draws.integers(count, size=count)
            found.append(values[chosen].sum() / max(weights[chosen].sum(), 1.0))
        low, high = np.percentile(found, [2.5, 97.5])
        return Estimate(float(values.sum() / whole), float(low), float(high))
