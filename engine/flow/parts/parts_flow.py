"""The parts of items under way, followed to their ends.

A `Division` is one item's parts of one splitting step. What the parts come to at a step becomes an
end in the item's own journey.
"""

from collections.abc import Callable, Mapping
from functools import partial

from anyio import to_thread
from anyio.abc import TaskGroup

from engine.contract.item import Item
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.flow.journey.suspects import Suspects
from engine.flow.parts.division import Division, Divisions, failure_of
from engine.flow.parts.feeding import CarryOut, PartsFeeding
from engine.flow.parts.gathering import Gathering, Judge
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.folders import discard_part, part_positions
from engine.ledger.records import Change, End
from engine.ledger.writer import Ledger
from engine.telemetry.events import Events, PartEnded, SplitEnded


class PartsFlow:
    """The parts of all items of a run. `carry_out` is the run's way to apply a change, `let_in`
    that to pass a part on whose first change the ledger has; tasks that feed parts run in
    `feeders`, and are counted by `count_feeder`."""

    def __init__(
        self,
        graph: Graph,
        commit: GroupCommit,
        run: int,
        suspects: Suspects,
        events: Events,
        most_failed: Mapping[str, float],
        feeders: TaskGroup,
        carry_out: CarryOut,
        let_in: CarryOut,
        count_feeder: Callable[[int], None],
        *,
        judges: Mapping[str, Judge],
        synced: bool,
    ) -> None:
        self._graph = graph
        self._commit = commit
        self._events = events
        self._carry_out = carry_out
        self._divisions = Divisions()
        self._feeding = PartsFeeding(
            self._divisions,
            commit,
            run,
            suspects,
            events,
            feeders,
            carry_out,
            let_in,
            count_feeder,
            self._fed,
            synced=synced,
        )
        self._gathering = Gathering(commit, most_failed, judges, carry_out)
        self.splitting, self.drain = self._feeding.splitting, self._feeding.drain
        self.forget = self._divisions.forget

    async def follow(self, journey: Journey, change: Change) -> None:
        """A change has been carried out: tell those above and below what it means for them."""
        for end in (change.ended, *change.reused):
            if end is not None:
                await self._ended_above(journey, end)
        if journey.is_decided:
            await self._abandon_parts(journey)
        journey.changes_under_way -= 1
        if journey.item.split:
            await self._ended_below(journey)
        elif not journey.is_over:
            await self._wake_if_stuck(journey)

    async def _ended_above(self, journey: Journey, end: End) -> None:
        """A step has ended with an item that may have parts."""
        if self._splits(journey, end):
            await self._all_made(journey, end)
        for division in self._divisions.of(journey):
            if self._reads(division.split, end.stage):
                await self._tell_parts(division, end.stage)
                await self._gathering.gather(division)

    def _reads(self, split: str, stage: str) -> bool:
        """Whether a step at the parts of `split`, or below, reads `stage`."""
        below = self._graph.below[split]
        return any(reader in below for reader in self._graph.readers[stage])

    async def _tell_parts(self, division: Division, stage: str) -> None:
        """An output that parts read is there now, or will never be."""
        for position, part in list(division.live.items()):
            if position in division.live:
                await self._carry_out(part, part.look_up(stage))
                for below in self._divisions.of(part):
                    if self._reads(below.split, stage):
                        await self._tell_parts(below, stage)
        if division.some_wait:
            self._feeding.begin(division)

    async def tidy(self, journey: Journey, change: Change) -> None:
        """Remove the parts that are none any more, before a step reads those of the item."""
        for end in (change.ended, *change.reused):
            if end is not None and self._splits(journey, end):
                await self._remove_superfluous(journey, end, end.parts or 0)

    def _splits(self, journey: Journey, end: End) -> bool:
        return end.stage in self._graph.splits[journey.item.split] and end.outcome == "done"

    async def _remove_superfluous(self, journey: Journey, end: End, many: int) -> None:
        division, item = self._divisions.of_split(journey, end.stage, end.fingerprint), journey.item
        division.limit = many
        told = (item.id, end.stage, many, division.made)
        gone = await self._commit.do(lambda ledger: ledger.parts.superfluous(*told))
        unknown = await to_thread.run_sync(part_positions, item, end.stage, many)
        for position in {*gone, *unknown}:
            part = item.part(end.stage, position)
            async with division.entry:
                await self._feeding.retire(division, position)
                await to_thread.run_sync(discard_part, part)  # before the row, which tells of it
                await self._commit.do(partial(forget, part))

    async def _all_made(self, journey: Journey, end: End) -> None:
        """The splitting step has ended: the number of parts is known."""
        many, split = end.parts or 0, end.stage
        division = self._divisions.of_split(journey, split, end.fingerprint)
        is_running = division.entered or division.standing
        division.many = many  # from now on parts are gathered
        await self._gathering.fail_if_too_many(division)
        if not all(s in journey.ended for s in division.steps):
            self._events.emit(SplitEnded(journey.item.id, split, many))
            if many and not is_running:
                self._feeding.begin(division)
        await self._gathering.gather(division)

    async def _ended_below(self, part: Journey) -> None:
        """A part has changed: count what it has ended, and gather what is complete with it."""
        division, position = self._divisions.around(part), part.item.position
        if division is None:
            return
        is_over = part.is_over
        for stage in division.steps:
            if stage in part.ended or (is_over and not part.is_abandoned):
                division.settle(stage, position)
        if not is_over:
            await self._wake_if_stuck(part)
        if is_over or self._is_idle(part):
            await self._leave(division, part, is_over=is_over)
        await self._gathering.gather(division)
        await self._after_leaving(division)

    async def _leave(self, division: Division, part: Journey, *, is_over: bool) -> None:
        """A part leaves memory: it has ended, or waits for an output of its parent alone."""
        above, position = division.journey, part.item.position
        division.leave(position, is_over=is_over)
        above.parts_under_way -= 1
        self.forget(part)
        if (gone := division.left.pop(position, None)) is not None:
            gone.set()
        if gone is not None or not is_over:
            return  # it is none any more, or waits
        outcome, item, whose = part.outcome, part.item, above.item.id
        if not part.is_closed:
            which, folder = (item.id, whose, item.split, position), str(item.folder)
            ended = PartEnded(*which, outcome or "abandoned", folder, not part.ran)
            self._commit.after(lambda: self._events.emit(ended))
        if outcome == "failed":
            division.fail(position, failure_of(part))
            await self._gathering.fail_if_too_many(division)

    async def _fed(self, division: Division) -> None:
        """The parts that the ledger had are fed."""
        await self._gathering.gather(division)
        await self._after_leaving(division)

    async def _after_leaving(self, division: Division) -> None:
        """The item may end with the last of its parts, or may have to wake those that wait."""
        journey = division.journey
        if journey.parts_under_way:
            return
        if journey.is_over:
            await self._carry_out(journey, journey.look_again())
        elif journey.item.split:
            await self._ended_below(journey)  # it waits too, if all of its parts do
        else:
            await self._wake_if_stuck(journey)

    async def _wake_if_stuck(self, journey: Journey) -> None:
        """Where nothing else is under way for an item, what its waiting parts wait for will never
        come, and they have to end."""
        if self._is_idle(journey) and not journey.may_get_from_above():
            for division in filter(lambda one: one.some_wait, self._divisions.of(journey)):
                self._feeding.begin(division)

    def _is_idle(self, journey: Journey) -> bool:
        if journey.changes_under_way or not journey.is_idle:
            return False
        return not any(one.is_gathered_now for one in self._divisions.of(journey))

    async def _abandon_parts(self, journey: Journey) -> None:
        live = [part for division in self._divisions.of(journey) for part in division.live.values()]
        for part in live:
            if not part.is_abandoned:
                await self._carry_out(part, part.abandon())


def forget(part: Item, ledger: Ledger) -> None:
    """Delete the part from the ledger. For the ledger's thread."""
    ledger.parts.forget(part)
