"""The gain from one more worker, by laws of queueing that hold for any service times.

The utilisation law: a stage that ends X items a second and works D seconds on each is busy for U =
X D / m of the time of its m workers. D does not depend on m. So one more worker for the busiest
stage speeds up the run by (m + 1) / m at most, and only until another stage, or the processor, is
as busy as the busiest stage is now. (Denning and Buzen, "The Operational Analysis of Queueing
Network Models", ACM Computing Surveys 10(3), 1978.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.telemetry.statistics import LEAST_BUSY, PoolStatistics, bottleneck

PROCESSOR = "the processor"

LEAST_GAIN = 0.02
"""A gain below this counts as none."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One more worker for `stage` makes the run up to `gain` times as fast, 1.0 for no faster.
    `capped_by` is the stage, or the processor, that caps the gain, None if none does."""

    stage: str
    workers: int
    gain: float
    capped_by: str | None

    @property
    def sentence(self) -> str:
        after = f"A worker more for {self.stage} ({self.workers + 1} in place of {self.workers})"
        cap = "" if self.capped_by is None else f"; then {self.capped_by} holds it back"
        if self.gain - 1 < LEAST_GAIN:
            return f"{after} would give next to nothing: {self.capped_by} is as busy."
        return f"{after} would make it at most about {self.gain - 1:.0%} faster{cap}."


def advise(pools: Mapping[str, PoolStatistics], processor: float | None) -> Advice | None:
    """The gain from one more worker for the bottleneck. None where no stage is the bottleneck,
    where it can have no more workers, or where they would not help: it has no items for them, or
    its items fail or hang.

    `processor` is the used share of the cores' time, 0 to 1; None if it is not known.
    """
    stage = bottleneck(pools)
    if stage is None or pools[stage].utilisation < LEAST_BUSY:
        return None
    busiest = pools[stage]
    if busiest.lacks_items or busiest.hangs or busiest.only_fails:
        return None
    workers = max(1, busiest.workers)
    if busiest.bound is not None or (busiest.most is not None and workers >= busiest.most):
        return None
    gain, cap = (workers + 1) / workers, None
    for pool in pools.values():
        if pool.stage != stage and pool.utilisation * gain > busiest.utilisation:
            gain, cap = busiest.utilisation / pool.utilisation, pool.stage
    if processor is not None and processor * gain > 1:
        gain, cap = max(1.0, 1 / processor), PROCESSOR
    return Advice(stage, workers, gain, cap)
