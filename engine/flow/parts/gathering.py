"""What the parts of an item come to at a step: an end of the item itself there."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from anyio import to_thread

from engine.config.load import Config
from engine.contract.errors import Drop, Permanent
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage
from engine.flow.parts.division import Division
from engine.flow.parts.feeding import CarryOut
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.folders import outputs_in_parts
from engine.ledger.part_rows import Gathered
from engine.ledger.records import End, Failure, Settled
from engine.ledger.writer import Ledger
from engine.workers.base import StageFactory
from engine.workers.result import result_of

Judge = Callable[[Iterator[Path]], None]
"""A step's judgement of an item, by the outputs of its parts: `Stage.judge`."""


def judged(end: End, judge: Judge, outputs: Iterator[Path]) -> End:
    """`end`, the end of a step for an item as a whole, as the step judges it. Blocks."""
    try:
        judge(outputs)
    except Exception as error:
        ending = result_of(error).ending
        if ending is None:  # a full disk stops the run
            raise
        outcome: Settled = "dropped" if isinstance(ending, Drop) else "failed"
        trace = getattr(ending, "traceback", None)
        failure = Failure(ending.kind, ending.reason, trace)
        retryable = outcome == "failed" and not isinstance(ending, Permanent)
        # No parts failed or were dropped that tell why, so it counts as the item's own end there.
        return end._replace(outcome=outcome, failure=failure, retryable=retryable, gaps=None)
    return end


def judges_of(pipeline: Pipeline, config: Config, workdir: Path) -> dict[str, Judge]:
    """The judgements of the steps at parts that have one."""
    judging = (step for step in pipeline.steps if step.each and step.stage.judge is not Stage.judge)
    return {
        step.name: StageFactory(
            step.stage, config.stages[step.name].settings, workdir, step.name
        )().judge
        for step in judging
    }


class Gathering:
    """Gives items the ends of steps at their parts, and fails those of which too many parts have
    failed. `most_failed` is that of each step that splits; `carry_out` applies a change."""

    def __init__(
        self,
        commit: GroupCommit,
        most_failed: Mapping[str, float],
        judges: Mapping[str, Judge],
        carry_out: CarryOut,
    ) -> None:
        self._commit = commit
        self._most_failed = most_failed
        self._judges = judges
        self._carry_out = carry_out

    async def gather(self, division: Division) -> None:
        """Give the item's journey the ends of steps that all its parts have ended."""
        journey = division.journey
        for stage in division.steps:
            if not division.is_complete_at(stage):
                continue
            if journey.is_decided:
                return
            division.gathering.add(stage)
            item, split, deciding = journey.item, division.split, journey.graph.deciding
            found = await self._commit.do(partial(gathered, item.id, split, stage, deciding))
            journey.part_failures[stage] = found.failures
            end = found.end_of(journey.whole_end(stage, "done", found.digest))
            if end.outcome == "done" and stage in self._judges:
                end = await to_thread.run_sync(
                    judged, end, self._judges[stage], outputs_in_parts(item, split, stage)
                )
            if not journey.is_decided:
                await self._carry_out(journey, journey.advance(end))

    async def fail_if_too_many(self, division: Division) -> None:
        """Fail the item where more of its parts have failed than may."""
        journey, failed = division.journey, division.first_failure
        too_many = division.exceeds(self._most_failed[division.split])
        if failed is None or journey.is_decided or not too_many:
            return
        await self._carry_out(journey, journey.advance(division.failure_by(failed)))


def gathered(
    item: str, split: str, stage: str, deciding: frozenset[str], ledger: Ledger
) -> Gathered:
    """What the parts of the item came to at `stage`. For the ledger's thread."""
    return ledger.parts.gathered(item, split, stage, deciding)
