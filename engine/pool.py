"""One stage at work: a bounded inbox, N workers, retries, resizing, measured waits.

What a pool does not know is the graph: it hands every item that has ended to `Hooks.settled`, and
the time that call takes is the time its worker was blocked by what comes after.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from engine.config import LimitSettings, StageConfig
from engine.crew import Crew
from engine.errors import Drop, Ending, Permanent, StopRun, Throttled
from engine.events import (
    AttemptEnded,
    AttemptOutcome,
    AttemptStarted,
    Events,
    PoolResized,
)
from engine.inbox import Closed, Inbox
from engine.item import Item, commit_output, discard_partial, open_scratch, remove_scratch
from engine.journal import Failure
from engine.journey import End, Journey, Settled
from engine.limits import FIRST_PAUSE, Gates
from engine.meter import Meter
from engine.retry import RetryPolicy
from engine.stage import Stage
from engine.statistics import PoolStatistics
from engine.worker import Result, StageFactory, Worker, result_of

FREE_PARKED = 1000
"""Items that may wait for a retry in a stage that takes them from the source, beyond its bound:
there they occupy no disk, so a throttled host does not hold back the others."""


class Hooks(Protocol):
    """What a pool asks of the run."""

    async def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> int:
        """Record it; returns the attempt's number in the ledger."""

    async def attempt_ended(self, number: int, outcome: str, failure: Failure | None) -> None:
        """Record how an attempt ended with which the stage has not ended."""

    async def settled(
        self, journey: Journey, stage: str, end: End, number: int, failure: Failure | None
    ) -> None:
        """The stage has ended with the item: record it, and pass the item on."""

    async def expand(self, journey: Journey, produced: Iterable[Item]) -> int:
        """Feed the items that came out of this one; returns how many there were."""

    def stop(self, why: StopRun) -> None:
        """The whole run has to stop."""


@dataclass(slots=True)
class Entry:
    """An item in this pool. `attempt` counts those that count; `held_back` is in seconds."""

    journey: Journey
    attempt: int = 1
    held_back: float = 0.0
    alone: bool = False
    """A batch with this item failed as a whole, so it is not put into another."""
    gate: str | None = None
    """The key of the gate that this item is inside of."""

    @property
    def item(self) -> Item:
        return self.journey.item


@dataclass(slots=True)
class Attempt:
    """One attempt at one item: where it writes, its number in the ledger, the gate it was in."""

    entry: Entry
    worker: int
    number: int
    out: Path
    seconds: float = 0.0
    gate: str | None = None


class Pool:
    """One stage at work. Made by the run, which starts `run` and then feeds `inbox`."""

    def __init__(
        self,
        stage: type[Stage],
        config: StageConfig,
        limits: LimitSettings,
        workdir: Path,
        gates: Gates,
        events: Events,
        hooks: Hooks,
        *,
        is_root: bool,
    ) -> None:
        self.stage = stage
        self.name = stage.name
        self.options = config.options
        self._policy = RetryPolicy(
            attempts=self.options.attempts,
            patience=self.options.patience,
            first=limits.backoff,
            cap=limits.backoff_cap,
            jitter=random.random,
        )
        self._gates = gates
        self._events = events
        self._hooks = hooks
        factory = StageFactory(stage, config.settings, workdir)
        self._crew = Crew(factory, config.options, events, self._serve_next)
        self._probe = factory()  # never opened: it only answers `gate`
        workers = self.options.workers
        self._target = 1 if workers == "auto" else workers
        self.inbox: Inbox[Entry] = Inbox(
            self.options.queue, self._target, FREE_PARKED if is_root else 0
        )
        self._counts: Counter[str] = Counter()
        self._busy, self._starved, self._blocked = Meter(), Meter(), Meter()
        self._parking: TaskGroup | None = None

    async def run(self) -> None:
        """Work until the inbox is closed and empty, or drained. Raises what `open` raises."""
        async with anyio.create_task_group() as self._parking:
            await self._crew.run(self._target)
            self._parking.cancel_scope.cancel()  # only a drained pool has anything parked still

    def resize(self, workers: int, why: str = "asked to") -> None:
        """Have this many workers from now on. One that is at work finishes its item first.

        Raises ValueError for fewer than 1 or more than the stage's `max_workers`.
        """
        most = self.stage.max_workers
        if workers < 1 or (most is not None and workers > most):
            raise ValueError(f"stage {self.name!r} takes 1 to {most or 'any number of'} workers")
        if workers == self._target:
            return
        self._events.emit(PoolResized(self.name, self._target, workers, why))
        self._target = workers
        self.inbox.resize(workers)
        self._crew.resize(workers)

    @property
    def target(self) -> int:
        """How many workers it is to have; those that are to go may still be at work."""
        return self._target

    def statistics(self) -> PoolStatistics:
        inbox = self.inbox.statistics()
        return PoolStatistics(
            stage=self.name,
            workers=len(self._crew),
            queue=self.inbox.bound,
            waiting=inbox.ready,
            parked=inbox.parked,
            in_hand=inbox.in_hand,
            done=self._counts["done"],
            dropped=self._counts["dropped"],
            failed=self._counts["failed"],
            retried=self._counts["retried"],
            throttled=self._counts["throttled"],
            busy=self._busy.seconds,
            starved=self._starved.seconds,
            blocked=self._blocked.seconds,
            worker_seconds=self._crew.alive.seconds,
            attempts=self._counts["attempts"],
            most=self.stage.max_workers,
        )

    # Taking

    async def _serve_next(self, worker: Worker, number: int) -> bool:
        """Wait for an entry, and more if they make a batch; false once no more can come."""
        first = None
        try:
            with self._crew.idle(number), self._starved.running():
                first = await self.inbox.take()
        except Closed:
            return False
        if first is not None and await self._enters_gate(first):
            await self._serve(worker, number, await self._batch(first))
        return True

    async def _batch(self, first: Entry) -> list[Entry]:
        entries = [first]
        while len(entries) < self.options.batch and not first.alone:
            following = self.inbox.take_nowait()
            if following is None:
                break
            if await self._enters_gate(following):
                entries.append(following)
        return entries

    # Attempts

    async def _serve(self, worker: Worker, number: int, entries: list[Entry]) -> None:
        attempts = [await self._start(entry, number) for entry in entries]
        clock = anyio.current_time()
        try:
            with self._busy.running():
                results = await self._results(worker, attempts)
        except BaseException:
            for attempt in attempts:  # cancelled: the next run marks the attempt as interrupted
                remove_scratch(attempt.out)
            raise
        seconds = (anyio.current_time() - clock) / len(attempts)
        for attempt, result in zip(attempts, results, strict=True):
            await self._conclude(attempt, result, seconds)

    @staticmethod
    async def _results(worker: Worker, attempts: list[Attempt]) -> list[Result]:
        if len(attempts) == 1:
            return [await worker.process(attempts[0].entry.item, attempts[0].out)]
        try:
            return await worker.process_batch(
                [attempt.entry.item for attempt in attempts], [a.out for a in attempts]
            )
        except Exception as error:
            result = result_of(error)
            for attempt in attempts:
                attempt.entry.alone = True
            return [result] * len(attempts)

    async def _start(self, entry: Entry, worker: int) -> Attempt:
        out = await to_thread.run_sync(open_scratch, entry.item, self.name)
        self._events.emit(AttemptStarted(entry.item.id, self.name, worker, entry.attempt))
        number = await self._hooks.attempt_started(entry.item, self.name, worker, entry.attempt)
        return Attempt(entry, worker, number, out)

    async def _conclude(self, attempt: Attempt, result: Result, seconds: float) -> None:
        """Commit, end, or plan another attempt, as the result says."""
        self._counts["attempts"] += 1
        attempt.seconds = seconds
        attempt.gate = attempt.entry.gate
        self._leave_gate(attempt.entry, throttled=isinstance(result.ending, Throttled))
        if result.produced is not None:
            self.inbox.leave()  # its items need room here, and its worker is needed for them
            assert self._parking is not None
            self._parking.start_soon(self._expand, attempt, result.produced)
            return
        if await self._settle(attempt, result):
            self.inbox.leave()

    async def _expand(self, attempt: Attempt, produced: Iterable[Item]) -> None:
        try:
            try:
                expanded = await self._hooks.expand(attempt.entry.journey, produced)
            except Exception as error:
                result = result_of(error)
            else:
                result = Result(expanded=expanded)
            await self._settle(attempt, result, left=True)
        except BaseException:
            remove_scratch(attempt.out)
            raise

    async def _settle(self, attempt: Attempt, result: Result, *, left: bool = False) -> bool:
        """Bring the attempt to its end; returns whether the item leaves the pool with it.

        `left`: it has left already, and another attempt has to come in by the front door.
        """
        if result.stop is not None:
            await self._interrupt(attempt, result.stop)
            return True
        if result.ending is None:
            await self._done(attempt, result.expanded)
            return True
        await to_thread.run_sync(remove_scratch, attempt.out)
        ending, entry = result.ending, attempt.entry
        pause = self._close_gate(attempt, ending)
        verdict = self._policy.judge(ending, entry.attempt, entry.held_back, pause)
        failure = Failure(ending.kind, ending.reason, getattr(ending, "traceback", None))
        self._tell(attempt, verdict.outcome, verdict.final, failure)
        if verdict.delay is None:
            await self._ended(attempt, ending, failure)
            return True
        await self._hooks.attempt_ended(attempt.number, verdict.outcome, failure)
        entry.attempt += verdict.counts
        if verdict.outcome == "throttled":
            entry.held_back += verdict.delay
        await self._again(entry, verdict.delay, attempt.gate, left=left)
        return False

    async def _interrupt(self, attempt: Attempt, stop: StopRun) -> None:
        await to_thread.run_sync(remove_scratch, attempt.out)
        failure = Failure("stopped", str(stop))
        self._tell(attempt, "interrupted", False, failure)
        self._hooks.stop(stop)
        await self._hooks.attempt_ended(attempt.number, "interrupted", failure)

    async def _done(self, attempt: Attempt, expanded: int | None) -> None:
        journey = attempt.entry.journey
        fingerprint = journey.fingerprint(self.name)
        await to_thread.run_sync(
            commit_output, journey.item, self.name, attempt.out, fingerprint, expanded
        )
        self._tell(attempt, "done", True, None)
        end = End("done", fingerprint, expanded)
        with self._blocked.running():
            await self._hooks.settled(journey, self.name, end, attempt.number, None)

    async def _ended(self, attempt: Attempt, ending: Ending, failure: Failure) -> None:
        journey = attempt.entry.journey
        outcome: Settled = "dropped" if isinstance(ending, Drop) else "failed"
        retryable = outcome == "failed" and not isinstance(ending, Permanent)
        end = End(outcome, journey.fingerprint(self.name), retryable=retryable)
        if not retryable:
            await to_thread.run_sync(discard_partial, journey.item, self.name)
        with self._blocked.running():
            await self._hooks.settled(journey, self.name, end, attempt.number, failure)

    def _tell(
        self, attempt: Attempt, outcome: AttemptOutcome, final: bool, failure: Failure | None
    ) -> None:
        self._counts[outcome] += 1
        self._events.emit(
            AttemptEnded(
                item=attempt.entry.item.id,
                stage=self.name,
                worker=attempt.worker,
                attempt=attempt.entry.attempt,
                outcome=outcome,
                final=final,
                seconds=attempt.seconds,
                kind=failure.kind if failure else None,
                reason=failure.reason if failure else None,
            )
        )

    # Waiting outside the workers

    async def _enters_gate(self, entry: Entry) -> bool:
        """Whether the entry, in hand, may be worked on now; if not it is parked until it may."""
        if entry.gate is not None:
            return True
        key = self._probe.gate(entry.item)
        if key is None or await self._gates.enter_at_once(key):
            entry.gate = key
            return True
        await self._again(entry, 0.0, key, left=False)
        return False

    def _leave_gate(self, entry: Entry, *, throttled: bool) -> None:
        if entry.gate is not None:
            self._gates.leave(entry.gate, throttled=throttled)
            entry.gate = None

    def _close_gate(self, attempt: Attempt, ending: Ending) -> float:
        """Close the gate that a Throttled names; returns the pause in seconds, 0 for others."""
        if not isinstance(ending, Throttled):
            return 0.0
        key = ending.key or attempt.gate
        if key is None:
            return ending.after if ending.after is not None else FIRST_PAUSE
        return self._gates.close(key, ending.after, ending.reason)

    async def _again(self, entry: Entry, delay: float, key: str | None, *, left: bool) -> None:
        """Have the entry wait, outside any worker, for `delay` seconds and the gate `key`."""
        if not left:
            self.inbox.park()
        assert self._parking is not None
        self._parking.start_soon(self._wait_parked, entry, delay, key, left)

    async def _wait_parked(self, entry: Entry, delay: float, key: str | None, left: bool) -> None:
        await anyio.sleep(delay)
        if key is not None:
            await self._gates.enter(key)
            entry.gate = key
        came_back = await (self.inbox.put(entry) if left else self.inbox.unpark(entry))
        if not came_back:
            self._leave_gate(entry, throttled=False)
