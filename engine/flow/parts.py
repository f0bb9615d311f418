"""The parts of items under way: taken from the splitting stage, followed to their ends, gathered.

A `Division` is one item's parts of one splitting step. What the parts come to at a step becomes an
end in the item's own journey.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from engine.contract.errors import Withdrawn
from engine.contract.item import Item
from engine.contract.parts import MadePart
from engine.flow.division import (
    Division,
    Entered,
    Judge,
    failure_of,
    following,
    forget,
    gathered,
    judged,
)
from engine.flow.handing import SplittingItem
from engine.flow.journey import Journey
from engine.flow.journey.admission import admit_part, place_part
from engine.flow.journey.first_change import standing_parts
from engine.flow.journey.graph import Graph
from engine.flow.journey.suspects import Suspects
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.folders import (
    discard_part,
    outputs_in_parts,
    part_positions,
    remove_scratch,
)
from engine.ledger.part_rows import PartRow
from engine.ledger.records import Change, End
from engine.telemetry.events import Events, PartEnded, PartEntered, SplitEnded

CarryOut = Callable[[Journey, Change], Awaitable[None]]
"""Has a change recorded, and passes the item on; or only the latter, where it has been recorded."""


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
        self._run = run
        self._suspects = suspects
        self._events = events
        self._most_failed = most_failed
        self._feeders = feeders
        self._carry_out = carry_out
        self._let_in = let_in
        self._count_feeder = count_feeder
        self._judges = judges
        self._synced = synced
        self._divisions: dict[tuple[str, str], Division] = {}
        self.draining = False

    # Splitting

    async def splitting(self, journey: Journey, split: str, made: str) -> SplittingItem:
        """An attempt of `split` at the item begins; its output would have the fingerprint
        `made`."""
        division = self._division(journey, split, made)
        if journey.known and not division.entered:
            division.standing, _ = await self._commit.do(
                lambda ledger: standing_parts(ledger, journey, split, made)
            )
            if division.standing:
                self._begin_feeding(division)
        return SplittingItem(self.take, division, self._events)

    async def take(self, division: Division, made: MadePart, content: str) -> None:
        """Commit a part that the splitting stage has made, and pass it on."""
        journey, position = division.journey, made.position
        part = journey.item.part(division.split, position, made.parameters)
        if journey.is_decided:
            await to_thread.run_sync(remove_scratch, made.folder)
            raise Withdrawn("the item has ended meanwhile")
        entered: Entered | None = None
        async with division.entry:
            if await self._is_in_the_run(division, part, content):
                await to_thread.run_sync(remove_scratch, made.folder)
            else:
                own = self._graph.part_fingerprint(division.made, content)
                synced = self._synced
                await to_thread.run_sync(lambda: place_part(part, made.folder, own, synced=synced))
                row = PartRow(position, made.parameters, division.made, content, "pending")
                division.standing.add(position)
                entered = await self._enter(division, row)
        if entered is not None:
            await self._pass_on(division, entered)
        if self.draining or journey.is_decided:
            raise Withdrawn("no further part is wanted: the run takes nothing new")

    async def _is_in_the_run(self, division: Division, part: Item, content: str) -> bool:
        """Whether this very part has entered the run; another one at its position leaves it."""
        if part.position not in division.entered:
            return False
        row = await self._commit.do(lambda ledger: ledger.parts.one(part))
        if row is not None and (row.content, row.made) == (content, division.made):
            return True
        await self._retire(division, part.position)
        return False

    async def _retire(self, division: Division, position: int) -> None:
        """Have a part leave the run; returns once no worker has it in hand."""
        journey = division.live.get(position)
        if journey is not None:
            gone = division.left.setdefault(position, anyio.Event())
            await self._carry_out(journey, journey.abandon())
            await gone.wait()
        division.retire(position)

    # Feeding

    def _division(self, journey: Journey, split: str, made: str) -> Division:
        key = (journey.item.id, split)
        found = self._divisions.get(key)
        if found is None:
            steps = self._graph.home[split]
            found = self._divisions[key] = Division(journey, split, made, steps)
        return found

    def _begin_feeding(self, division: Division) -> None:
        if division.is_fed:
            division.is_fed_again = True
        elif not self.draining:
            division.is_fed = True
            division.journey.parts_under_way += 1
            self._count_feeder(1)
            self._feeders.start_soon(self._feed, division)

    async def _feed(self, division: Division) -> None:
        """Have the parts that the ledger has enter this run, or enter again where they waited for
        an output of their parent: in order, as there is room."""
        journey = division.journey
        division.is_fed_again = True
        while division.is_fed_again and not journey.is_decided:
            division.is_fed_again = division.some_wait = False
            await self._feed_once(division)
        division.is_fed = False
        journey.parts_under_way -= 1
        await self._gather(division)
        await self._after_leaving(division)
        self._count_feeder(-1)

    async def _feed_once(self, division: Division) -> None:
        whose, position = (division.journey.item.id, division.split), -1
        while rows := await self._commit.do(partial(following, *whose, position)):
            for row in rows:
                position = row.position
                if division.journey.is_decided:
                    return
                entered: Entered | None = None
                async with division.entry:
                    if division.is_to_enter(row):
                        entered = await self._enter(division, row)
                if entered is not None:
                    await self._pass_on(division, entered)

    async def _enter(self, division: Division, row: PartRow) -> Entered:
        """The part enters the run, or enters again. One at a time: the splitting stage may make a
        part just when it is being fed."""
        journey, split, position = division.journey, division.split, row.position
        seen = journey.ends_so_far()
        journey.parts_under_way += 1
        try:
            admitted = await self._commit.do(
                lambda ledger: admit_part(ledger, journey, row, split, self._run, self._suspects)
            )
        except BaseException:
            journey.parts_under_way -= 1
            raise
        division.enter(position, admitted.journey)
        part = admitted.journey
        if admitted.is_new:
            self._events.emit(PartEntered(part.item.id, journey.item.id, split, position))
        else:
            part.is_closed = row.outcome != "pending"
        for repair in admitted.repairs:
            self._events.emit(repair)
        return Entered(part, admitted.change, seen)

    async def _pass_on(self, division: Division, entered: Entered) -> None:
        """The part goes on to its first steps; returns once there was room."""
        journey, part = division.journey, entered.part
        await self._let_in(part, entered.change)
        if journey.ends_so_far() != entered.seen and division.has(part):
            await self._carry_out(part, part.look_around())
        if journey.is_decided and division.has(part):
            await self._carry_out(part, part.abandon())

    # Following

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
        for division in self._of(journey):
            if self._reads(division.split, end.stage):
                await self._tell_parts(division, end.stage)
                await self._gather(division)

    def _reads(self, split: str, stage: str) -> bool:
        """Whether a step at the parts of `split`, or below, reads `stage`."""
        below = self._graph.below[split]
        return any(reader in below for reader in self._graph.readers[stage])

    async def _tell_parts(self, division: Division, stage: str) -> None:
        """An output that parts read is there now, or will never be."""
        for position, part in list(division.live.items()):
            if position in division.live:
                await self._carry_out(part, part.look_up(stage))
                for below in self._of(part):
                    if self._reads(below.split, stage):
                        await self._tell_parts(below, stage)
        if division.some_wait:
            self._begin_feeding(division)

    async def tidy(self, journey: Journey, change: Change) -> None:
        """Remove the parts that are none any more, before a step reads those of the item."""
        for end in (change.ended, *change.reused):
            if end is not None and self._splits(journey, end):
                await self._remove_superfluous(journey, end, end.parts or 0)

    def _splits(self, journey: Journey, end: End) -> bool:
        return end.stage in self._graph.splits[journey.item.split] and end.outcome == "done"

    async def _remove_superfluous(self, journey: Journey, end: End, many: int) -> None:
        division, item = self._division(journey, end.stage, end.fingerprint), journey.item
        division.limit = many
        told = (item.id, end.stage, many, division.made)
        gone = await self._commit.do(lambda ledger: ledger.parts.superfluous(*told))
        unknown = await to_thread.run_sync(part_positions, item, end.stage, many)
        for position in {*gone, *unknown}:
            part = item.part(end.stage, position)
            async with division.entry:
                await self._retire(division, position)
                await to_thread.run_sync(discard_part, part)  # before the row, which tells of it
                await self._commit.do(partial(forget, part))

    async def _all_made(self, journey: Journey, end: End) -> None:
        """The splitting step has ended: the number of parts is known."""
        many, split = end.parts or 0, end.stage
        division = self._division(journey, split, end.fingerprint)
        is_running = division.entered or division.standing
        division.many = many  # from now on parts are gathered
        await self._fail_if_too_many(division)
        if not all(s in journey.ended for s in division.steps):
            self._events.emit(SplitEnded(journey.item.id, split, many))
            if many and not is_running:
                self._begin_feeding(division)
        await self._gather(division)

    async def _ended_below(self, part: Journey) -> None:
        """A part has changed: count what it has ended, and gather what is complete with it."""
        assert part.above is not None
        division = self._divisions.get((part.above.item.id, part.item.split))
        position = part.item.position
        if division is None or not division.has(part):
            return
        is_over = part.is_over
        for stage in division.steps:
            if stage in part.ended or (is_over and not part.is_abandoned):
                division.settle(stage, position)
        if not is_over:
            await self._wake_if_stuck(part)
        if is_over or self._is_idle(part):
            await self._leave(division, part, is_over=is_over)
        await self._gather(division)
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
            await self._fail_if_too_many(division)

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
            for division in filter(lambda one: one.some_wait, self._of(journey)):
                self._begin_feeding(division)

    def _is_idle(self, journey: Journey) -> bool:
        if journey.changes_under_way or not journey.is_idle:
            return False
        return not any(one.is_gathered_now for one in self._of(journey))

    def forget(self, journey: Journey) -> None:
        """The item has ended."""
        for split in self._graph.splits[journey.item.split]:
            self._divisions.pop((journey.item.id, split), None)

    def _of(self, journey: Journey) -> list[Division]:
        """The divisions of an item that are under way."""
        splits = self._graph.splits[journey.item.split]
        found = (self._divisions.get((journey.item.id, split)) for split in splits)
        return [one for one in found if one is not None]

    # Gathering

    async def _gather(self, division: Division) -> None:
        """Give the item's journey the ends of steps that all its parts have ended."""
        journey = division.journey
        for stage in division.steps:
            if not division.is_complete_at(stage):
                continue
            if journey.is_decided:
                return
            division.gathering.add(stage)
            item, split, deciding = journey.item, division.split, self._graph.deciding
            found = await self._commit.do(partial(gathered, item.id, split, stage, deciding))
            journey.part_failures[stage] = found.failures
            end = found.end_of(journey.whole_end(stage, "done", found.digest))
            if end.outcome == "done" and stage in self._judges:
                end = await to_thread.run_sync(
                    judged, end, self._judges[stage], outputs_in_parts(item, split, stage)
                )
            if not journey.is_decided:
                await self._carry_out(journey, journey.advance(end))

    async def _fail_if_too_many(self, division: Division) -> None:
        """Fail the item where more of its parts have failed than may."""
        journey, failed = division.journey, division.first_failure
        too_many = division.exceeds(self._most_failed[division.split])
        if failed is None or journey.is_decided or not too_many:
            return
        await self._carry_out(journey, journey.advance(division.failure_by(failed)))

    async def _abandon_parts(self, journey: Journey) -> None:
        live = [part for division in self._of(journey) for part in division.live.values()]
        for part in live:
            if not part.is_abandoned:
                await self._carry_out(part, part.abandon())
