"""One item's parts of one splitting step: which have entered, are in memory, have ended where."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import anyio

from engine.config.load import Config
from engine.contract.errors import Drop, Permanent
from engine.contract.item import Item
from engine.contract.parts import Positions
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage
from engine.flow.journey import Journey
from engine.ledger.part_rows import Gathered, PartRow
from engine.ledger.records import Change, End, Failure, Settled
from engine.ledger.writer import Ledger
from engine.workers.base import StageFactory
from engine.workers.result import result_of


@dataclass(slots=True, eq=False)
class Division:
    """The parts of an item that the step `split` makes; `made` is the fingerprint of its output.

    `standing` need not be made again; `entered` have entered this run; `live` are the journeys of
    those in memory, by position. `many` is the number of parts, once they have all been made.
    `settled` has, for each step at the parts, those that have ended there or will never reach it.
    """

    journey: Journey
    split: str
    made: str
    steps: Sequence[str]
    standing: Positions = field(default_factory=Positions)
    entered: Positions = field(default_factory=Positions)
    live: dict[int, Journey] = field(default_factory=dict)
    left: dict[int, anyio.Event] = field(default_factory=dict)
    """Set for a live part that somebody waits for, once it has left."""
    waiting: Positions = field(default_factory=Positions)
    """Those that have left memory, and wait for an output of their parent."""
    entry: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while a part enters the run, or leaves it for another at its position."""
    settled: dict[str, Positions] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failed: Positions = field(default_factory=Positions)
    first_failure: End | None = None
    many: int | None = None
    limit: int | None = None
    """The position from which on there is no part: the splitting step is about to end."""
    some_wait: bool = False
    """Whether parts have left to wait since the feeding of the division last began."""
    is_fed: bool = False
    is_fed_again: bool = False
    """Whether the parts that wait are to be fed once more, from the first on."""
    gathering: set[str] = field(default_factory=set)

    @property
    def is_gathered_now(self) -> bool:
        """Whether the item is about to get an end from its parts."""
        return any(stage not in self.journey.ended for stage in self.gathering)

    def is_complete_at(self, stage: str) -> bool:
        """Whether the item may have its end at `stage` now: all parts have ended there. Where there
        are none that could wait for the other inputs of the step, it does so itself."""
        if self.counts.get(stage, 0) != self.many or stage in self.gathering:
            return False
        if stage in self.journey.ended:
            return False
        return bool(self.many) or not self.journey.waits_for_inputs_of(stage)

    def is_to_enter(self, row: PartRow) -> bool:
        """Whether the part is to be fed: it waits, or has not entered, and need not be made."""
        if row.made != self.made or row.position in self.live:
            return False
        if self.limit is not None and row.position >= self.limit:
            return False  # it was read from the ledger before it was removed there
        if row.position in self.entered:
            return row.position in self.waiting
        splits_now = self.many is None
        return not splits_now or row.position in self.standing

    def enter(self, position: int, part: Journey) -> None:
        self.entered.add(position)
        self._wait_no_more(position)
        self.live[position] = part

    def has(self, part: Journey) -> bool:
        """Whether this very part is in memory."""
        return self.live.get(part.item.position) is part

    def leave(self, position: int, *, is_over: bool) -> None:
        """The part leaves memory: it has ended, or waits."""
        del self.live[position]
        if not is_over:
            self.waiting.add(position)
            self.journey.parts_waiting += 1
            self.some_wait = True

    def _wait_no_more(self, position: int) -> None:
        if position in self.waiting:
            self.waiting.discard(position)
            self.journey.parts_waiting -= 1

    def retire(self, position: int) -> None:
        """The part is none any more, as if it had never entered."""
        self.entered.discard(position)
        self._wait_no_more(position)
        self.failed.discard(position)
        for stage, there in self.settled.items():
            if position in there:
                there.discard(position)
                self.counts[stage] -= 1

    def fail(self, position: int, end: End) -> None:
        self.failed.add(position)
        self.first_failure = self.first_failure or end

    def failure_by(self, failed: End) -> End:
        """The end that fails the item, of which too many parts have failed: `failed` is the first
        of those."""
        end = self.journey.whole_end(failed.stage, "failed", "")
        parts, gaps = self.many or len(self.entered), len(self.failed)
        return end._replace(
            retryable=failed.retryable, failure=failed.failure, parts=parts, gaps=gaps
        )

    def settle(self, stage: str, position: int) -> None:
        there = self.settled.setdefault(stage, Positions())
        if position not in there:
            there.add(position)
            self.counts[stage] = self.counts.get(stage, 0) + 1

    def exceeds(self, most: float) -> bool:
        """Whether more parts than `most` have failed: a number, or a share of all parts."""
        if 0 < most < 1:
            return self.many is not None and len(self.failed) > most * self.many
        return len(self.failed) > most


class Entered(NamedTuple):
    """A part that has entered, its first change, and the ends above it that it was admitted by."""

    part: Journey
    change: Change
    seen: int


def failure_of(part: Journey) -> End:
    """The end that failed the part, in words for its item: of the step at the part's level."""
    graph, split = part.graph, part.item.split
    ends = (end for end in part.ended.values() if end.outcome == "failed")
    end = next(end for end in ends if end.stage in graph.deciding)
    why = end.failure or Failure("", "")
    told = Failure(why.kind, f"part {part.item.position + 1}: {why.reason}")
    stage = end.stage if graph.level[end.stage] == split else graph.level[end.stage]
    return end._replace(stage=stage, failure=told)


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


# Work for the ledger's thread


def following(parent: str, split: str, position: int, ledger: Ledger) -> list[PartRow]:
    """The next parts of the item after `position`."""
    return ledger.parts.after(parent, split, position)


def forget(part: Item, ledger: Ledger) -> None:
    """Delete the part from the ledger."""
    ledger.parts.forget(part)


def gathered(
    item: str, split: str, stage: str, deciding: frozenset[str], ledger: Ledger
) -> Gathered:
    """What the parts of the item came to at `stage`."""
    return ledger.parts.gathered(item, split, stage, deciding)
