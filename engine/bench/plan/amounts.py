"""Mean amounts of the recorded items, with confidence intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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

MEASURES: Mapping[Measure, Callable[[Visit], float]] = {
    "seconds": lambda visit: visit.seconds,
    "processor": lambda visit: visit.processor,
    "reached": lambda visit: 1.0,
    "dropped": lambda visit: float(visit.outcome == "dropped"),
    "failed": lambda visit: float(visit.outcome == "failed"),
}
"""Of one visit: an item has several to a stage that stands at its parts."""


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
        self._footprint = footprint
        self._sampled = [item for item in items if item.id in footprint.outputs]
        self._costed = [item for item in items if item.id in footprint.costs]
        self._keep = recording.keep
        self._stages = recording.stages
        self._each = recording.each
        self._of_stage = {
            stage: [list(item.visits_of(stage)) for item in items] for stage in recording.stages
        }
        self._parts = {
            split: np.array([float(sum(1 for _ in item.parts_of(split))) for item in items])
            for split in set(recording.each.values())
        }
        self.costs = sorted({name for costs in footprint.costs.values() for name in costs})

    def processor(self, stages: Sequence[str] | None = None) -> Estimate:
        """Core seconds of these stages; None: of all."""
        return self._sum("processor", dict.fromkeys(self._stages if stages is None else stages, 1))

    def taken(self, takes: Mapping[str, float]) -> Estimate:
        """Seconds of the stages' workers, times what each of them takes meanwhile."""
        return self._sum("seconds", takes)

    def _sum(self, what: Measure, weights: Mapping[str, float]) -> Estimate:
        values = np.zeros(len(self._ordinary))
        for stage, weight in weights.items():
            values = values + weight * self._column(what, stage)
        return self._estimate(values, self._ordinary)

    def attempts(self) -> Estimate:
        """Attempts at all stages."""
        counted = [
            np.array([float(sum(len(visit.services) for visit in visits)) for visits in found])
            for found in self._of_stage.values()
        ]
        return self._estimate(np.sum(counted, axis=0), self._ordinary)

    def of_stage(self, what: Measure, stage: str) -> Estimate:
        """A worker's seconds or core seconds; or the share of items that reach the stage, are
        dropped by it or fail in it, and of their parts where it stands at those."""
        split = self._each.get(stage)
        if split is None or what in ("seconds", "processor"):
            return self._estimate(self._column(what, stage), self._ordinary)
        return self._estimate(self._column(what, stage), self._parts[split])

    def parts(self, split: str) -> Estimate:
        """Number of parts that the step makes, of items or of their parts."""
        return self._estimate(self._parts[split], self._ordinary)

    @property
    def recorded_parts(self) -> int:
        """Number of parts that were recorded."""
        return int(sum(parts.sum() for parts in self._parts.values()))

    def outputs(self, stage: str) -> float:
        """Number of outputs of the stage: it makes one of each item, or part, that it reaches, and
        one with each part that it makes."""
        if stage in self._parts:
            return self.parts(stage).value
        return self._estimate(self._column("reached", stage), self._ordinary).value

    def starts(self, key: str) -> Estimate:
        """Attempts that pass the gate of `key`."""
        values = [
            sum(len(v.services) for visits in of_item for v in visits if v.key == key)
            for of_item in self._visits()
        ]
        return self._estimate(np.array(values, dtype=float), self._ordinary)

    @property
    def keys(self) -> list[str]:
        """The keys of gates, the most frequent first."""
        counts: dict[str, int] = {}
        for of_item in self._visits():
            for visit in (visit for visits in of_item for visit in visits):
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
            visits = (visit for visits in self._of_stage[stage] for visit in visits)
            gone = any(visit.outcome == "done" for visit in visits)
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

    def _visits(self) -> Iterator[tuple[Sequence[Visit], ...]]:
        """Of each item, its visits by stage."""
        return zip(*self._of_stage.values(), strict=True)

    def _of_some(self, items: Sequence[RecordedItem], values: Sequence[float]) -> Estimate:
        return self._estimate(
            np.array(values, dtype=float),
            np.array([float(item.expanded is None) for item in items]),
        )

    def _column(self, what: Measure, stage: str) -> Row:
        of_visit, found = MEASURES[what], self._of_stage[stage]
        values = np.array([float(sum(map(of_visit, visits))) for visits in found])
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
