"""One stage at work: a bounded inbox, N workers, resizing, measured waits.

A pool does not know the graph: it reports the end of every attempt to the run, by
`Hooks.concluded`. If the item goes on, the time of that call is the time for which the next stages
blocked the worker.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import anyio

from engine.cluster.cluster import RayCluster
from engine.config.limits import LimitSettings
from engine.config.load import StageConfig
from engine.contract.stage import Stage, StageOptions
from engine.flow.attempt import Attempt, Entry, Hooks, Stay
from engine.flow.attempting import Attempting
from engine.flow.holding import ALONE, Holding
from engine.flow.inbox import Closed, Inbox, Outlet
from engine.flow.settling import Settling, retry_policy
from engine.gates.hosts import Gates
from engine.gates.resources import Resources
from engine.ledger.outputs.drafts import Draft, Outputs
from engine.telemetry.events import Events, PoolResized
from engine.telemetry.meter import Meter
from engine.telemetry.statistics import CLUSTER, PoolStatistics
from engine.workers.base import StageFactory, Worker
from engine.workers.result import Items, Result, result_of
from engine.workers.team import Team

FREE_HELD = 1000
"""Items that may be held for a retry beyond the bound, in a stage that takes them from the source:
there they occupy no disk, so a throttled host does not hold back the others."""


def first_workers(options: StageOptions) -> int:
    """The number of workers that a pool starts with."""
    return 1 if options.workers == "auto" else options.workers


def inbox_for(options: StageOptions, *, is_root: bool, of_parts: bool) -> Inbox[Entry]:
    """The inbox of a pool with these options. `is_root`: the source feeds it. `of_parts`: its step
    stands at the level of parts."""
    free_held = FREE_HELD if is_root else 0
    whole_of = _whole_of if of_parts else None
    return Inbox(options.queue, first_workers(options), free_held, whole_of, _PRIORITY)


class Pool:
    """One stage at work. The run makes it, starts `run` and feeds the other end of `inbox`."""

    def __init__(
        self,
        stage: type[Stage],
        config: StageConfig,
        limits: LimitSettings,
        workdir: Path,
        gates: Gates,
        resources: Resources,
        events: Events,
        hooks: Hooks,
        outputs: Outputs,
        *,
        name: str,
        inputs: Mapping[str, str | None],
        inbox: Outlet[Entry],
        ingredients: Mapping[str, Any] | None = None,
        cluster: RayCluster | None = None,
    ) -> None:
        """`name` is the step's, `inputs` are the steps whose outputs the stage reads, by role,
        `inbox` is the outlet of the inbox from `inbox_for`, and `ingredients` are the stage's own
        answer. `cluster` is where a step with `placement = "ray"` works. Made on the event loop."""
        self.stage = stage
        self.name = name
        self._inputs = inputs
        self.options = config.options
        policy = retry_policy(self.options, limits)
        self._events = events
        self._hooks = hooks
        factory = StageFactory(stage, config.settings, workdir, name, ingredients)
        self._gated = stage.gate is not Stage.gate
        self._probe = factory()  # never opened: it only answers `gate` and `needs`
        # On a cluster it is the cluster that shares out its devices, by what a worker asks for.
        is_placed = self.options.placement == "ray"
        needs = {} if is_placed else self._probe.needs()
        self._share = resources.share(name, needs) if needs else None
        self._target = first_workers(self.options)
        self._inbox = inbox
        self._lingers = self.options.batch > 1 and self.options.linger > 0
        self._needs = CLUSTER if is_placed else ", ".join(needs)
        self._is_plain = self.options.batch == 1 and not self._gated and not self._needs
        self._team = Team(factory, config.options, events, self._serve_next, inbox.release, cluster)
        self._starved, self._needing = Meter(), Meter()
        self._holding = Holding(inbox, gates)
        self._settling = Settling(stage, name, policy, gates, self._holding, events, hooks)
        self._tasks = anyio.create_task_group()
        self._attempting = Attempting(
            name,
            inputs,
            self.options.attempts,
            self._team,
            self._settling,
            events,
            hooks,
            outputs,
            splits=stage.splits(),
            share=self._share,
        )
        self.cut_short, self.drain = self._attempting.cut_short, self._team.drain

    async def run(self) -> None:
        """Work until the inbox is closed and empty, or drained. Raises what `open` raises."""
        try:
            async with self._tasks:
                await self._team.run(self._target)
                self._tasks.cancel_scope.cancel()  # only a drained pool still has held entries
        finally:
            await self._team.close()

    def resize(self, workers: int, why: str = "asked to") -> None:
        """Have this many workers from now on. A surplus worker finishes its item first.

        Raises ValueError for fewer than 1 or more than the stage's `most_workers`.
        """
        most = self.stage.most_workers(self.options.placement)
        if workers < 1 or (most is not None and workers > most):
            raise ValueError(f"stage {self.name!r} takes 1 to {most or 'any number of'} workers")
        if workers == self._target:
            return
        self._events.emit(PoolResized(self.name, self._target, workers, why))
        self._target = workers
        self._inbox.resize(workers)
        self._team.resize(workers)

    @property
    def target(self) -> int:
        """The number of workers to have; surplus ones may still be at work."""
        return self._target

    def statistics(self) -> PoolStatistics:
        inbox, counts = self._inbox.statistics(), self._settling.counts
        return PoolStatistics(
            stage=self.name,
            workers=len(self._team) or self._target,
            queue=self._inbox.bound,
            waiting=inbox.ready,
            held=inbox.held,
            in_hand=inbox.in_hand,
            done=counts["done"],
            dropped=counts["dropped"],
            failed=counts["failed"],
            retried=counts["retried"],
            throttled=counts["throttled"],
            busy=self._attempting.busy.seconds,
            starved=self._starved.seconds,
            blocked=self._settling.blocked.seconds,
            worker_seconds=self._team.alive.seconds,
            attempts=counts["attempts"],
            most=self.stage.most_workers(self.options.placement),
            needing=self._needing.seconds,
            needs=self._needs,
            timed_out=self._settling.timed_out,
            holds=self._holding.holds(),
            bound=self._team.bound(),
        )

    # Taking

    async def _serve_next(self, worker: Worker, number: int) -> bool:
        """Wait for an entry, take more if they make a batch, and work on them; false once no more
        can come.

        It does not wait if an entry is there: the bounds of the inboxes give every pool its turn.
        The stage's resources are taken with the entry in hand, and given back before the worker may
        have to wait for room: so no worker that holds them waits for anything else.
        """
        first = self._inbox.take_nowait()
        if first is None:
            try:
                with self._starved:
                    first = await self._inbox.take()
            except Closed:
                return False
        if first is None:
            return True
        if not first.journey.goes_to(self.name):
            self._inbox.leave()  # withdrawn as it came in, or was taken
        elif self._is_plain:
            await self._conclude(await self._attempting.attempt(worker, number, first))
        else:
            for attempt in await self._take_turns(first, worker, number):
                await self._conclude(attempt)
        return True

    async def _take_turns(self, first: Entry, worker: Worker, number: int) -> list[Attempt]:
        """Work on the entry, in hand, and on more if they make a batch, when it is the step's turn
        at what the stage needs, or at the cluster."""
        taken = [first]
        if self._lingers and not first.alone and first.turn is None:
            await self._linger(taken)
        access = self._share or worker.access
        if access is None:
            return await self._work_on(taken, worker, number)
        if not access.enter_nowait():
            with self._needing:
                await access.enter()
        try:
            if not self._inbox.is_draining:
                return await self._work_on(taken, worker, number)
            for _ in taken:
                self._inbox.hold()  # its attempt has not begun, and must not begin
            return []
        finally:
            access.leave()

    async def _linger(self, taken: list[Entry]) -> None:
        """Take more in hand for a batch, until it is full or its first has waited long enough."""
        with self._starved, anyio.move_on_after(self.options.linger):
            while len(taken) < self.options.batch:
                following = await self._inbox.take_more(_joins_batches)
                if following is None:
                    break
                taken.append(following)

    async def _work_on(self, taken: list[Entry], worker: Worker, number: int) -> list[Attempt]:
        """Work on the entries, in hand, and on more if they make a batch. Those that may not start
        now are held until they may."""
        attempts: list[Attempt] = []
        if self.options.batch == 1 or taken[0].alone:
            if self._is_still_due(taken[0], number, attempts):
                attempts.append(await self._attempting.attempt(worker, number, taken[0]))
            return attempts
        entries = self._batch(taken, number, attempts)
        if len(entries) == 1:
            attempts.append(await self._attempting.attempt(worker, number, entries[0]))
        elif entries:
            attempts += await self._attempting.attempt_batch(worker, number, entries)
        return attempts

    def _batch(self, taken: list[Entry], number: int, attempts: list[Attempt]) -> list[Entry]:
        """The entries, in hand, that may start now, and more that make a batch with them.

        Those that share a gate are inside it as one. No entry goes before another that has waited
        longer for the same gate.
        """
        batch, stays = self.options.batch, dict[str, Stay]()
        entries: list[Entry] = []
        following = deque(taken)
        while following:
            entry = following.popleft()
            if self._is_still_due(entry, number, attempts, stays):
                entries.append(entry)
                stay = entry.stay
                if stay is not None and stay.key not in stays:
                    stays[stay.key] = stay
                    room = batch - len(entries) - len(following)
                    entries += islice(iter(partial(self._holding.call, stay), None), room)
            if entries and not following and len(entries) < batch:
                more = self._inbox.take_nowait(_joins_batches)
                following.extend([more] if more is not None else [])
        return entries

    def _is_still_due(
        self,
        entry: Entry,
        worker: int,
        attempts: list[Attempt],
        company: Mapping[str, Stay] = ALONE,
    ) -> bool:
        """Whether the entry, in hand, is to be worked on now, as `_may_start`. It has left where it
        was withdrawn since it was taken."""
        if not entry.journey.goes_to(self.name):
            self._inbox.leave()
            return False
        return not self._gated or self._may_start(entry, worker, attempts, company)

    def _may_start(
        self,
        entry: Entry,
        worker: int,
        attempts: list[Attempt],
        company: Mapping[str, Stay] = ALONE,
    ) -> bool:
        """Whether the entry, in hand, may be worked on now; if not it is held until it may. Where
        the stage cannot say, that is one of the `attempts`, and it has ended. `company`: where
        those are inside a gate that it would be worked on with."""
        try:
            key = self._probe.gate(entry.journey.item.with_inputs(self._inputs))
        except Exception as error:
            attempt = self._attempting.begin(entry, worker)
            attempt.result = result_of(error)
            attempts.append(attempt)
            return False
        return key is None or self._holding.enters(entry, key, self._tasks, company)

    # Ending

    async def _conclude(self, attempt: Attempt) -> None:
        """Commit the attempt, end it, or plan another one, as its result says."""
        self._settling.counts["attempts"] += 1
        if attempt.result.produced is not None:
            self._inbox.leave()  # its items need room here, and its worker
            self._tasks.start_soon(self._expand, attempt, attempt.result.produced)
        elif await self._settling.settle(attempt, self._tasks):
            self._inbox.leave()

    async def _expand(self, attempt: Attempt, produced: Items) -> None:
        try:
            try:
                expanded = await self._hooks.expand(attempt.entry.journey, produced)
            except Exception as error:
                attempt.result = result_of(error)
            else:
                attempt.result = await self._commit_list(attempt.draft, expanded)
            self._settling.leave_gate(attempt)
            await attempt.draft.aremove()
            await self._settling.settle(attempt, self._tasks, left=True)
        except BaseException:
            attempt.draft.remove()
            raise

    @staticmethod
    async def _commit_list(draft: Draft, expanded: int) -> Result:
        try:
            await draft.acommit(expanded)
        except OSError as error:
            return result_of(error)
        return Result(expanded=expanded)


def _joins_batches(entry: Entry) -> bool:
    return not entry.alone


_PRIORITY = attrgetter("journey.priority")


def _whole_of(entry: Entry) -> str | None:
    """The id of the whole item that the entry's is a part of; None if it is no part."""
    item = entry.journey.item
    return item.root.id if item.parent is not None else None
