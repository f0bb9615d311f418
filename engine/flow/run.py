"""One run: it joins the pools, feeds the source in, drains, finishes, and reports."""

import signal
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from engine.cluster.cluster import RayCluster
from engine.config.load import Config, fingerprint_settings
from engine.contract.errors import StopRun, root_cause
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage
from engine.flow.ending.item_finishes import ItemFinishes
from engine.flow.ending.pruning import Pruning
from engine.flow.entry.claims import stand_up_for
from engine.flow.finishing import WholeFinish, import_first, item_finish
from engine.flow.journey.graph import Graph, HasExpired
from engine.flow.parts.gathering import judges_of
from engine.flow.pool import Pool, inbox_for
from engine.flow.report import RunOutcome, RunReport, report_of
from engine.flow.resizer import Resizer
from engine.flow.routing import Routing
from engine.gates.capacity import Capacities
from engine.gates.disk import DiskGate
from engine.gates.failure_budget import FailureBudget
from engine.gates.hosts import Gates
from engine.gates.resources import Resources
from engine.gates.shared import shared_gate
from engine.ledger.group_commit import GroupCommit
from engine.ledger.history import History
from engine.ledger.outputs.drafts import FolderOutputs
from engine.ledger.records import Begun
from engine.sources.jobs import Jobs
from engine.sources.source import Sources, as_source
from engine.telemetry.events import Event, Events, RunEnded, Stopping
from engine.telemetry.statistics import PoolStatistics
from engine.workers.base import StageFactory
from engine.workers.ingredients import Ingredients

Background = Callable[[], Coroutine[Any, Any, None]]
"""A task that runs beside a run and is cancelled at its end, such as a view that refreshes."""


class Run:
    """One execution of a pipeline on a work folder; `execute` runs it to its end. Made by
    `opening.opened_run`."""

    def __init__(
        self,
        pipeline: Pipeline,
        config: Config,
        workdir: Path,
        sources: Sources,
        events: Events,
        commit: GroupCommit,
        begun: Begun,
        news: Sequence[Event],
        ingredients: Mapping[str, Ingredients],
        *,
        resident: bool = False,
    ) -> None:
        """`commit` writes the ledger, in which the run has `begun`; `news` are the events of that,
        for listeners that subscribe before the run is executed. `ingredients` are those of the
        steps that have some. `resident` as for `run_pipeline`."""
        self.pipeline = pipeline
        self.config = config
        self.workdir = workdir
        self.events = events
        self._jobs = Jobs(as_source(sources), self._stop, resident=resident)
        self._commit = commit
        self._number, self._news = begun.run, news
        stages, limits = config.stages, config.limits
        self._optional = frozenset(name for name in stages if stages[name].options.optional)
        inboxes = {
            name: inbox_for(
                stages[name].options,
                is_root=name in pipeline.roots,
                of_parts=bool(pipeline[name].each),
            )
            for name in pipeline.names
        }
        made = partial(commit.note, lambda ledger: ledger.note_finish(begun.run))
        self._finish_of_all = WholeFinish(pipeline, config, workdir, self._stop, made)
        self._finishes = ItemFinishes(item_finish(pipeline, config, workdir), events, self._stop)
        self._routing = Routing(
            pipeline,
            self._graph(ingredients),
            workdir,
            commit,
            begun,
            {name: inbox.inlet for name, inbox in inboxes.items()},
            DiskGate(workdir, int(limits.free_disk), events),
            FailureBudget(limits.failure_budget, limits.failure_window, limits.failure_minimum),
            events,
            self._jobs,
            self._finishes,
            self._stop,
            self._cut_short,
            judges=judges_of(pipeline, config, workdir),
            most_failed={name: stages[name].options.most_failed for name in pipeline.names},
            synced=limits.sync,
            resident=resident,
        )
        capacities = Capacities(limits.rate, limits.concurrency, limits.keys)
        self._gates = gates = Gates(capacities, events, shared_gate)
        resources = Resources(limits.resources)
        outputs = FolderOutputs(synced=limits.sync)
        self._cluster = RayCluster(limits.cluster, workdir)
        self.pools = {
            name: Pool(
                pipeline[name].stage,
                stages[name],
                limits,
                workdir,
                gates,
                resources,
                events,
                self._routing,
                outputs,
                name=name,
                inputs=pipeline.inputs(name),
                inbox=inboxes[name].outlet,
                ingredients=ingredients[name].found if name in ingredients else None,
                cluster=self._cluster,
            )
            for name in pipeline.names
        }
        self._began = anyio.current_time()
        self._outcome: RunOutcome = "done"
        self._why: str | None = None
        self._in_hand = anyio.CancelScope()
        self._finishing = self._went_through = False
        self._seconds: float | None = None

    def _graph(self, ingredients: Mapping[str, Ingredients]) -> Graph:
        stages = self.config.stages
        made_from: dict[str, object] = {
            name: fingerprint_settings(self.pipeline[name].stage, stages[name].settings)
            for name in self.pipeline.names
        }
        for name, step in ingredients.items():
            if step.in_fingerprint:
                made_from[name] = [made_from[name], step.in_fingerprint]
        return Graph(
            self.pipeline,
            made_from,
            optional=self._optional,
            discarding=frozenset(name for name in stages if not stages[name].options.keep),
            rereading=frozenset(name for name in stages if stages[name].options.reread),
            expiring=_expiries_of(self.pipeline, self.config, self.workdir),
            off=self.config.off,
        )

    def snapshot(self) -> list[PoolStatistics]:
        """Every pool's statistics now, in graph order."""
        return [pool.statistics() for pool in self.pools.values()]

    @property
    def outcome(self) -> RunOutcome:
        """The outcome of the run, for tasks that still run beside it; "stopped" if it broke off."""
        return self._outcome if self._went_through or self._outcome != "done" else "stopped"

    async def execute(self, background: Sequence[Background] = ()) -> RunReport:
        """Run until every item has ended, or the run is stopped, with `background` beside it.

        Raises PenstockError where a stage does not open.
        """
        for event in self._news:
            self.events.emit(event)
        lines = await self._work(background)
        self._seconds = anyio.current_time() - self._began
        with suppress(StopRun):  # it has been reported, and the next run finds this one unended
            await self._commit.do(lambda ledger: ledger.end_run(self._number, self._outcome))
        return report_of(
            self.pipeline,
            self.workdir,
            self._number,
            (self._outcome, self._why, self._seconds),
            items=self._routing.ended,
            pools=self.snapshot(),
            optional=self._optional,
            finish=lines,
        )

    async def close(self) -> None:
        """Tell the source of the remaining jobs, and listeners that the run has ended, if it did
        not break off. The ledger is closed by now."""
        await self._cluster.close()
        await self._jobs.close()
        if self._seconds is not None:
            self.events.emit(RunEnded(self._number, self._outcome, self._seconds))

    async def give_up(self, item: str) -> bool:
        """Have the item of this id leave the run without an end: nobody waits for it any more. So
        do the items that it has produced, and that no other list and no job waits for. Returns
        whether it was under way.

        No stage begins with it. An attempt in hand ends as if its time were over, and becomes no
        output. The item stays pending in the ledger, what it has done stands, and it may enter
        this run again. An item that has failed or was dropped already ends by itself.
        """
        return await self._routing.give_up(item)

    def _cut_short(self, item: str) -> None:
        for pool in self.pools.values():
            pool.cut_short(item)

    def drain(self, outcome: RunOutcome, why: str, told: str | None = None) -> None:
        """Take nothing new; workers finish the items in hand. `why` is for the report; listeners
        are told `told`, if that differs."""
        if self._outcome != "done":
            return
        self._outcome, self._why = outcome, why
        self.events.emit(Stopping(told or why))
        self._routing.drain()
        for pool in self.pools.values():
            pool.drain()

    def _stop(self, why: StopRun) -> None:
        self.drain("stopped", str(why))

    async def _work(self, background: Sequence[Background]) -> Sequence[str]:
        """Take the items through the pools, and run the finish; returns its lines."""
        lines: Sequence[str] = ()
        stand_up_for(self._jobs, self._routing.lists_of)
        try:
            async with anyio.create_task_group() as helpers:
                if threading.current_thread() is threading.main_thread():
                    helpers.start_soon(self._watch_signals)
                for task in (*background, self._commit.watch, self._finishes.run, self._gates.tell):
                    helpers.start_soon(task)
                helpers.start_soon(Resizer(self.pools).keep, lambda: self._outcome == "done")
                helpers.start_soon(self._jobs.attend, self.give_up)
                if self._jobs.is_resident:
                    self._go_on_for_ever(helpers)
                history = History(self._commit, self._number, self.snapshot, self.workdir)
                helpers.start_soon(history.keep)
                with self._in_hand:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._routing.feed)
                        if self._jobs.is_resident or await self._routing.has_work():
                            await import_first(self.pipeline)
                            await self._cluster.open()
                            for pool in self.pools.values():
                                tasks.start_soon(pool.run, name=pool.name)
                    await self._commit.flush()  # the finish reads the ledger, and so do listeners
                    await self._finishes.all_done()
                    await self._jobs.all_told()
                    lines = await self._finish()
                self._went_through = True
                helpers.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            cause = root_cause(group)
            if not isinstance(cause, StopRun):
                raise cause from group
            self._stop(cause)
        return lines

    def _go_on_for_ever(self, helpers: TaskGroup) -> None:
        """What a resident run does now and then, since it may never get to its end."""
        if self._finish_of_all.is_repeated:
            self.events.subscribe(self._finish_of_all)
            helpers.start_soon(self._finish_of_all.now_and_then)
        if ttl := self.config.limits.ttl:
            told = self._commit, self._finishes, self.events, self._stop
            helpers.start_soon(Pruning(self.workdir, ttl, *told).keep)

    async def _watch_signals(self) -> None:
        heard = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
            heard.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*heard) as signals:
            async for number in signals:
                # A closed terminal may send it twice, once itself and once by its shell.
                if number != signal.SIGHUP or self._outcome != "interrupted":
                    self._interrupt(signal.Signals(number).name)

    def _interrupt(self, name: str) -> None:
        if self._outcome == "interrupted":
            self._why = "interrupted twice: what was in hand is given up and stays pending"
            self._in_hand.cancel()
            return
        self._outcome = "done"  # a user's stop overrides the run's own
        if self._finishing:
            self.drain("interrupted", f"{name}: every item had ended, the finish is left")
            self._in_hand.cancel()
        else:
            told = "taking nothing new, finishing what is in hand; once more to stop now"
            why = "nothing new was taken, and what was in hand was finished"
            self.drain("interrupted", f"{name}: {why}", f"{name}: {told}")

    async def _finish(self) -> Sequence[str]:
        if self.pipeline.finish is None or self._outcome != "done":
            return ()
        self._finishing = True
        return await self._finish_of_all.at_the_end()


def _expiries_of(pipeline: Pipeline, config: Config, workdir: Path) -> dict[str, HasExpired]:
    """What the steps at whole items say of their outputs: those that may expire."""
    return {
        step.name: StageFactory(
            step.stage, config.stages[step.name].settings, workdir, step.name
        )().has_expired
        for step in pipeline.steps
        if not step.each and step.stage.has_expired is not Stage.has_expired
    }
