"""The report of a run: its results, and those of the whole ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.contract.pipeline import Pipeline
from engine.ledger.reader import LedgerReader
from engine.telemetry.statistics import FailureKind, Hold, PoolStatistics, StageCounts

RunOutcome = Literal["done", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True)
class RunReport:
    """The results of a run. `total` (of items), `parts` (of all), `gaps` (number of items that are
    done without some of theirs), `counts` (of stages), `failures` and `holds` are the whole
    ledger's, the rest is this run's. `items` counts how they ended; `reused`: all done before."""

    run: int
    outcome: RunOutcome
    why: str | None
    seconds: float
    items: Mapping[str, int]
    with_gaps: int
    total: StageCounts
    parts: StageCounts
    gaps: int
    counts: Sequence[StageCounts]
    failures: Sequence[FailureKind]
    holds: Sequence[Hold]
    pools: Mapping[str, PoolStatistics]
    processor: float | None
    discrepancies: Sequence[str]
    finish: Sequence[str]

    @property
    def exit_code(self) -> int:
        """0 all ended well, 1 some items or parts failed, 3 stopped itself, 130 interrupted."""
        if self.outcome != "done":
            return 130 if self.outcome == "interrupted" else 3
        return 1 if self.items["failed"] or self.with_gaps or self.discrepancies else 0


def report_of(
    pipeline: Pipeline,
    workdir: Path,
    run: int,
    ended: tuple[RunOutcome, str | None, float],
    *,
    items: Mapping[str, int],
    pools: Sequence[PoolStatistics],
    optional: frozenset[str],
    finish: Sequence[str],
) -> RunReport:
    """The report of a run that has `ended`: how, why, and after how many seconds. The rest is read
    from the ledger of `workdir`. `optional` are the steps whose failures decide no item."""
    outcome, why, seconds = ended
    with LedgerReader(workdir) as reader:
        return RunReport(
            run=run,
            outcome=outcome,
            why=why,
            seconds=seconds,
            items=dict(items),
            with_gaps=reader.gaps(run),
            total=reader.item_counts(),
            parts=reader.part_counts(),
            gaps=reader.gaps(),
            counts=reader.counts(pipeline),
            failures=reader.failure_kinds(),
            holds=reader.holds(),
            pools={pool.stage: pool for pool in pools},
            processor=reader.processor_share(run),
            discrepancies=reader.audit(pipeline, optional),
            finish=finish,
        )
