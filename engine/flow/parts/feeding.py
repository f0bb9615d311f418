"""How parts enter a run: from the stage that splits their item, and from the ledger."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from engine.contract.errors import Withdrawn
from engine.contract.item import Item
from engine.contract.parts import MadePart
from engine.flow.journey import Journey
from engine.flow.journey.admission import admit_part, place_part
from engine.flow.journey.first_change import standing_parts
from engine.flow.journey.suspects import Suspects
from engine.flow.parts.division import Division, Divisions
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.folders import remove_scratch
from engine.ledger.part_rows import PartRow
from engine.ledger.records import Change
from engine.ledger.writer import Ledger
from engine.telemetry.events import Events, PartEntered, PartsExpected

CarryOut = Callable[[Journey, Change], Awaitable[None]]
"""Has a change recorded, and passes the item on; or only the latter, where it has been recorded."""


class SplittingItem:
    """The run's side of one attempt that splits an item: a `Handing`. `take` is the run's way to
    commit a part, and to pass it on."""

    def __init__(
        self,
        take: Callable[[Division, MadePart, str], Awaitable[None]],
        division: Division,
        events: Events,
    ) -> None:
        self._take = take
        self._division = division
        self._events = events
        self.standing = division.standing

    async def hand_over(self, part: MadePart, content: str) -> None:
        await self._take(self._division, part, content)

    def expect(self, count: int) -> None:
        item, split = self._division.journey.item, self._division.split
        self._events.emit(PartsExpected(item.id, split, count))


class Entered(NamedTuple):
    """A part that has entered, its first change, and the ends above it that it was admitted by."""

    part: Journey
    change: Change
    seen: int


class PartsFeeding:
    """Has parts enter the run, in order, as there is room.

    `carry_out` is the run's way to apply a change, `let_in` that to pass a part on whose first
    change the ledger has. Tasks that feed parts from the ledger run in `feeders`, and are counted
    by `count_feeder`; at the end of each `fed` is told which parts it fed.
    """

    def __init__(
        self,
        divisions: Divisions,
        commit: GroupCommit,
        run: int,
        suspects: Suspects,
        events: Events,
        feeders: TaskGroup,
        carry_out: CarryOut,
        let_in: CarryOut,
        count_feeder: Callable[[int], None],
        fed: Callable[[Division], Awaitable[None]],
        *,
        synced: bool,
    ) -> None:
        self._divisions = divisions
        self._commit = commit
        self._run = run
        self._suspects = suspects
        self._events = events
        self._feeders = feeders
        self._carry_out = carry_out
        self._let_in = let_in
        self._count_feeder = count_feeder
        self._fed = fed
        self._synced = synced
        self._draining = False

    def drain(self) -> None:
        """Feed no more from the ledger, and refuse what a splitting stage makes after the part that
        it has in hand."""
        self._draining = True

    # From the splitting stage

    async def splitting(self, journey: Journey, split: str, made: str) -> SplittingItem:
        """An attempt of `split` at the item begins; its output would have the fingerprint
        `made`."""
        division = self._divisions.of_split(journey, split, made)
        if journey.known and not division.entered:
            division.standing, _ = await self._commit.do(
                lambda ledger: standing_parts(ledger, journey, split, made)
            )
            if division.standing:
                self.begin(division)
        return SplittingItem(self._take, division, self._events)

    async def _take(self, division: Division, made: MadePart, content: str) -> None:
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
                own = journey.graph.part_fingerprint(division.made, content)
                synced = self._synced
                await to_thread.run_sync(lambda: place_part(part, made.folder, own, synced=synced))
                row = PartRow(position, made.parameters, division.made, content, "pending")
                division.standing.add(position)
                entered = await self._enter(division, row)
        if entered is not None:
            await self._pass_on(division, entered)
        if self._draining or journey.is_decided:
            raise Withdrawn("no further part is wanted: the run takes nothing new")

    async def _is_in_the_run(self, division: Division, part: Item, content: str) -> bool:
        """Whether this very part has entered the run; another one at its position leaves it."""
        if part.position not in division.entered:
            return False
        row = await self._commit.do(lambda ledger: ledger.parts.one(part))
        if row is not None and (row.content, row.made) == (content, division.made):
            return True
        await self.retire(division, part.position)
        return False

    async def retire(self, division: Division, position: int) -> None:
        """Have a part leave the run; returns once no worker has it in hand."""
        journey = division.live.get(position)
        if journey is not None:
            gone = division.left.setdefault(position, anyio.Event())
            await self._carry_out(journey, journey.abandon())
            await gone.wait()
        division.retire(position)

    # From the ledger

    def begin(self, division: Division) -> None:
        """Feed the parts that the ledger has; where they are being fed, once more from the first
        on, for those that have come to wait."""
        if division.is_fed:
            division.is_fed_again = True
        elif not self._draining:
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
        await self._fed(division)
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


def following(parent: str, split: str, position: int, ledger: Ledger) -> list[PartRow]:
    """The next parts of the item after `position`. For the ledger's thread."""
    return ledger.parts.after(parent, split, position)
