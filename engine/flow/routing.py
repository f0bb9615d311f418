"""Moves items through a run: in from the source, on from stage to stage, and out at the end."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from engine.contract.errors import StopRun
from engine.contract.item import Item
from engine.contract.pipeline import Pipeline
from engine.contract.showing import shown
from engine.flow.attempt import Conclusion, Entry
from engine.flow.ending.item_finishes import ItemFinishes
from engine.flow.ending.telling import Telling
from engine.flow.entry.endings import Endings
from engine.flow.entry.entering_again import enter_again
from engine.flow.entry.job_items import item_of, with_parameters
from engine.flow.entry.lists import Lists
from engine.flow.entry.suspects_turn import SuspectsTurn
from engine.flow.handing import DiskRoom, RoomyHanding
from engine.flow.inbox import Inlet
from engine.flow.journey import Journey
from engine.flow.journey.admission import Again, admit
from engine.flow.journey.graph import Graph
from engine.flow.journey.suspects import Suspects
from engine.flow.offering import Offering
from engine.flow.parts.gathering import Judge
from engine.flow.parts.parts_flow import PartsFlow
from engine.gates.disk import DiskGate
from engine.gates.failure_budget import FailureBudget
from engine.ledger.group_commit import GroupCommit
from engine.ledger.outputs.drafts import Handing
from engine.ledger.outputs.folders import discard_all, discard_in_parts
from engine.ledger.records import AttemptRow, Begun, Change, Settled
from engine.sources.jobs import Jobs, Taken
from engine.sources.reading import Feed
from engine.telemetry.events import Events, ItemEntered, SourceEnded
from engine.workers.result import Items


class Routing:
    """The run's side of the pools' hooks (`attempt.Hooks`), and of the source.

    It has everything recorded. When no item is under way any more it closes the inboxes, and so
    ends the pools. `stop` is called where the whole run has to stop through no item's fault,
    `cut_short` to have the attempts in hand at an item end now.
    `ended` counts, by outcome, the items whose end in this run has been told: after the ledger has
    it, and after the items that they produced have ended too.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        graph: Graph,
        workdir: Path,
        commit: GroupCommit,
        begun: Begun,
        inlets: Mapping[str, Inlet[Entry]],
        disk: DiskGate,
        budget: FailureBudget,
        events: Events,
        jobs: Jobs,
        finishes: ItemFinishes,
        stop: Callable[[StopRun], None],
        cut_short: Callable[[str], None],
        *,
        most_failed: Mapping[str, float],
        judges: Mapping[str, Judge],
        synced: bool,
        resident: bool = False,
    ) -> None:
        """`commit` records everything, in the run that has `begun`; `inlets` are the pools', by
        step; `most_failed` is that of the steps that split, `judges` judge whole items by their
        parts, and parts are `synced` to the disk. A `resident` run may never end."""
        self._pipeline = pipeline
        self._graph = graph
        self._workdir = workdir
        self._budget = budget
        self._events = events
        self._jobs = jobs
        self._finishes = finishes
        self.stop = stop
        self._cut_short = cut_short
        telling = Telling(finishes, commit, events, jobs)
        self.ended = telling.ended
        self._endings = Endings(telling.tell)
        self.lists_of = self._endings.lists_of
        self._enter_again = partial(
            enter_again, endings=self._endings, jobs=jobs, finishes=finishes, commit=commit
        )
        self._reading = Feed(disk, lambda: self._in_flight)
        self._lists = Lists(pipeline, workdir, commit, self._reading, self._admit)
        self._in_flight = 0
        self._entered = 0
        self._draining = False
        self._feeders = anyio.create_task_group()
        self._has_work = False
        self._first_work_or_end, self._empty = anyio.Event(), anyio.Event()
        self._commit = commit
        self._run = begun.run
        self._at_work = 0
        """Entries in pools, and changes on their way from one pool to the next."""
        self._attempt_numbers = numbers = itertools.count(begun.last_attempt + 1)
        self._suspects = Suspects(begun.suspects, begun.died, graph.names, lambda: next(numbers))
        self._turn = SuspectsTurn(self._suspects, commit, events, resident=resident)
        self._offering = Offering(inlets)
        self._disk_room = DiskRoom(disk, graph, inlets, lambda: self._draining)
        self._has_parts = any(len(steps) for level, steps in graph.splits.items())
        self._parts = PartsFlow(
            graph,
            commit,
            begun.run,
            self._suspects,
            events,
            most_failed,
            self._feeders,
            self._carry_out,
            self._let_in,
            self._count_feeder,
            judges=judges,
            synced=synced,
        )

    async def has_work(self) -> bool:
        """Wait until a pool has an item; false if the run ends without any, so that no stage need
        be opened."""
        await self._first_work_or_end.wait()
        return self._has_work

    def drain(self) -> None:
        """Admit no more items."""
        self._draining = True
        self._parts.drain()
        self._feeders.cancel_scope.cancel()
        self._first_work_or_end.set()
        self._offering.drain()

    # Feeding

    async def feed(self) -> None:
        """Admit the items of the source; returns when no item is under way any more."""
        if self._draining:
            return
        self._in_flight += 1
        self._turn.begin_reading()
        try:
            async with self._feeders:
                try:
                    await self._reading.feed(self._jobs.read(), self._take, 0)
                    self._turn.reading = 0
                except StopRun as stop:
                    self.stop(stop)
                else:
                    self._events.emit(SourceEnded(self._entered))
                    self._left()
                    await self._empty.wait()  # until then a list from an earlier run may turn up
        finally:
            # A worker that is cancelled with this may go on to its next wait: nothing is fed then.
            self._draining = True
            self._parts.drain()

    async def _take(self, taken: Taken) -> None:
        await self._jobs.room()
        await self._finishes.room()
        await self._turn.over()
        if self._jobs.has_expired(taken):
            return
        item = item_of(self._pipeline, self._workdir, taken.job)
        await self._admit(await with_parameters(self._pipeline, item), None, 0, taken)
        if taken.is_withdrawn:  # meanwhile
            await self._jobs.withdraw(taken, self.give_up)

    async def splitting(self, journey: Journey, step: str, fingerprint: str) -> Handing:
        """The run's side of an attempt of `step` that makes parts of the item."""
        inner = await self._parts.splitting(journey, step, fingerprint)
        return RoomyHanding(inner, self._disk_room, journey, step)

    async def expand(self, journey: Journey, produced: Items) -> int:
        """Feed the items that this one produced; returns their number."""
        return await self._lists.expand(journey, produced)

    async def _feed_known_children(self, journey: Journey) -> None:
        await self._lists.feed_known(journey)
        self._endings.read(journey.item.id)
        self._left()

    async def _admit(
        self, item: Item, parent: str | None, depth: int, taken: Taken | None = None
    ) -> None:
        """Admit the item. Called when its turn has come and there is room."""
        if self._draining:
            await anyio.sleep_forever()  # the run drains, and is about to cancel the feeding task
        self._in_flight += 1
        where = self._graph, item, parent, depth, self._run, self._suspects
        again = taken is not None and taken.job.again
        anew, is_over = taken is not None and self._jobs.is_resident, item.id not in self._endings
        try:
            admitted = await self._commit.do(
                lambda ledger: admit(ledger, *where, again=again, by_identity=anew, is_over=is_over)
            )
        except BaseException:
            self._in_flight -= 1
            raise
        if isinstance(admitted, Again):
            await self._enter_again(admitted, shown(item.source), parent, taken)
            self._left()
            return
        journey, change = admitted.journey, admitted.change
        self._entered += 1
        self._endings.entered(journey)
        if taken is not None:
            journey.priority = taken.job.priority
            self._jobs.bind(taken, journey.item.id)
        self._events.emit(ItemEntered(journey.item.id, shown(item.source), parent))
        for repair in admitted.repairs:
            self._events.emit(repair)
        await self._let_in(journey, change)
        self._try_a_suspect()

    def _count_feeder(self, one: int) -> None:
        """A task that feeds parts has begun (1) or ended (-1): until then more may come."""
        if one > 0:
            self._in_flight += 1
        else:
            self._left()

    # Passing items on

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        """Have the attempt recorded soon; returns its row."""
        number = next(self._attempt_numbers)
        row = AttemptRow(number, self._run, item.id, stage, worker, attempt, time.time())
        self._budget.begun(item.root.id, number)
        self._commit.note(lambda ledger: ledger.start_attempt(row))
        return row

    async def concluded(self, conclusion: Conclusion) -> None:
        """An attempt has ended: have it recorded; if its stage has ended too, pass the item on."""
        journey, row, end = conclusion.journey, conclusion.row, conclusion.end
        if conclusion.stop is not None:
            self.stop(conclusion.stop)
        row.end(conclusion.outcome, conclusion.failure)
        self._turn.tried(row)
        root = journey.item.root.id
        if end is None:
            self._budget.put_off(root)
        goes_on = conclusion.stop is not None or conclusion.delay is not None
        if end is None and (goes_on or not journey.is_decided):
            journey.put_off(row.stage)
            self._commit.note(lambda ledger: ledger.end_attempt(row))
            return
        if end is not None and not end.has_output and journey.is_given_up:
            end = None  # nobody wants to know
        if end is not None and end.stage not in self._graph.optional:
            self._budget.settled(root, end.stage, end.outcome, alone=end.alone)
        change = journey.give_up(row.stage) if end is None else journey.advance(end)
        await self._carry_out(journey, change, row)
        self._at_work -= 1
        self._try_a_suspect()

    async def _carry_out(
        self, journey: Journey, change: Change, row: AttemptRow | None = None
    ) -> None:
        """Have the change recorded, with the end of the attempt that brought it about, and pass the
        item on."""
        journey.changes_under_way += 1
        entering = self._enter(journey, change)
        if gone := change.withdrawn or change.left:
            ended = row.stage if row is not None else None
            self._withdraw(journey, [name for name in gone if name != ended])
        if row is not None:
            await self._commit.apply(change, self._run, row)
        elif not change.is_empty:
            await self._commit.do(lambda ledger: ledger.apply(change, self._run))
        await self._go_on(journey, change, entering)

    async def _let_in(self, journey: Journey, change: Change) -> None:
        """Pass an item on by its first change, which was recorded as it was admitted."""
        journey.changes_under_way += 1
        await self._go_on(journey, change, self._enter(journey, change))

    def _enter(self, journey: Journey, change: Change) -> list[str]:
        """The stages to offer the item to; at stages where it is under suspicion it waits."""
        entering = [name for name in change.entering if not self._turn.holds(journey, name)]
        self._at_work += len(entering)
        return entering

    def _withdraw(self, journey: Journey, stages: Sequence[str]) -> None:
        """These stages had not begun with the item, and must not begin. Awaits nothing."""
        offered = [name for name in stages if not self._suspects.withdraw(journey, name)]
        self._at_work -= len(offered)
        self._offering.withdraw(journey, offered)

    async def _go_on(self, journey: Journey, change: Change, entering: Sequence[str]) -> None:
        unneeded = [*change.discardable, *change.stale]
        if unneeded or change.withdrawn:
            await to_thread.run_sync(discard_all, journey.item, unneeded, change.withdrawn)
        for stage in change.discardable_in_parts:
            level = self._graph.level[stage]
            split = level if level != journey.item.split else stage
            await to_thread.run_sync(discard_in_parts, journey.item, split, stage)
        if change.entering:
            self._has_work = True
            self._first_work_or_end.set()
        if any(end.expanded is not None for end in change.reused):
            self._endings.reading(journey.item.id)
            if not self._draining:
                self._in_flight += 1
                self._feeders.start_soon(self._feed_known_children, journey)
        if self._has_parts:
            await self._parts.tidy(journey, change)
        if entering:  # what a suspect hands over, or holds, is in hand beside it
            await self._turn.has_company()
        await self._offering.offer(journey, [name for name in entering if journey.goes_to(name)])
        if self._has_parts:
            await self._parts.follow(journey, change)
        if journey.item.split or journey.is_closed:
            return
        if change.outcome is not None:
            journey.is_closed = True
            self._end(journey, change.outcome)
        elif journey.was_given_up and journey.is_over:
            journey.is_closed = True
            self._leave(journey)

    async def tried_alone(self, row: AttemptRow) -> None:
        """Record, before the attempt at a suspect begins, whether nothing else is in hand. Parts
        from earlier runs may be when an item is split."""
        await self._turn.try_it(row, alone=self._at_work == 1)

    def _try_a_suspect(self) -> None:
        """Once nothing else is under way, and nothing more can come, try one of the suspects."""
        if self._draining or self._at_work:
            return
        held = self._turn.next(self._in_flight)
        if held is not None:
            self._at_work += 1
            entry = Entry(held.journey, attempt=1 + held.deaths, alone=True, suspect=True)
            self._feeders.start_soon(self._offering.put, held.stage, entry)

    def _end(self, journey: Journey, outcome: Settled) -> None:
        item, reused = journey.item.id, not journey.ran
        self._commit.after(lambda: self._endings.ended(item, outcome, reused))
        self._parts.forget(journey)
        if not reused:
            why = self._budget.ended(item, outcome)
            if why is not None:
                self.stop(StopRun(why))
        self._left()

    async def give_up(self, item: str) -> bool:
        """Have the item leave this run without an end, with those that it has produced; returns
        whether it was under way."""
        journeys = self._endings.journeys(item, self._jobs.wants)
        for journey in journeys:
            journey.was_given_up = True
        for journey in journeys:
            change = journey.abandon()
            self._cut_short(journey.item.id)
            await self._carry_out(journey, change)
        return bool(journeys)

    def _leave(self, journey: Journey) -> None:
        """The item, which was given up, is in nobody's hands any more."""
        item = journey.item.id
        self._commit.after(lambda: self._endings.ended(item, None, False))
        self._parts.forget(journey)
        self._budget.left(item)
        self._left()

    def _left(self) -> None:
        """Count one entry or change less; at zero, nothing can come any more."""
        self._in_flight -= 1
        self._try_a_suspect()
        if self._in_flight == 0:
            self._empty.set()
            self._first_work_or_end.set()
            self._offering.close()
