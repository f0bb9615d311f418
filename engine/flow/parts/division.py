"""One item's parts of one splitting step: which have entered, are in memory, have ended where."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from engine.contract.parts import Positions
from engine.flow.journey import Journey
from engine.ledger.part_rows import PartRow
from engine.ledger.records import End, Failure


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


class Divisions:
    """The divisions of all items under way."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Division] = {}

    def of_split(self, journey: Journey, split: str, made: str) -> Division:
        """The item's division by the step `split`, whose output has, or would have, the fingerprint
        `made`. It begins where it is first asked for."""
        key = (journey.item.id, split)
        found = self._known.get(key)
        if found is None:
            steps = journey.graph.home[split]
            found = self._known[key] = Division(journey, split, made, steps)
        return found

    def of(self, journey: Journey) -> list[Division]:
        """Those of an item."""
        splits = journey.graph.splits[journey.item.split]
        found = (self._known.get((journey.item.id, split)) for split in splits)
        return [one for one in found if one is not None]

    def around(self, part: Journey) -> Division | None:
        """The one that has this very part in memory."""
        assert part.above is not None
        found = self._known.get((part.above.item.id, part.item.split))
        return found if found is not None and found.has(part) else None

    def forget(self, journey: Journey) -> None:
        """The item has ended."""
        for split in journey.graph.splits[journey.item.split]:
            self._known.pop((journey.item.id, split), None)


def failure_of(part: Journey) -> End:
    """The end that failed the part, in words for its item: of the step at the part's level."""
    graph, split = part.graph, part.item.split
    ends = (end for end in part.ended.values() if end.outcome == "failed")
    end = next(end for end in ends if end.stage in graph.deciding)
    why = end.failure or Failure("", "")
    told = Failure(why.kind, f"part {part.item.position + 1}: {why.reason}")
    stage = end.stage if graph.level[end.stage] == split else graph.level[end.stage]
    return end._replace(stage=stage, failure=told)
