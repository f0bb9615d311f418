"""Turns an attempt's result into consequences: for its item, for its gate, for the run."""

import random
import time
from collections import Counter

import anyio
from anyio.abc import TaskGroup

from engine.config.limits import LimitSettings
from engine.contract.errors import Drop, Ending, Fault, Permanent, Skip, Throttled, Withdrawn
from engine.contract.stage import Stage, StageOptions
from engine.flow.attempt import Attempt, Conclusion, Hooks
from engine.flow.holding import Holding
from engine.gates.hosts import Gates, pause_after
from engine.gates.retry import RetryPolicy
from engine.ledger.records import End, Failure
from engine.telemetry.events import AttemptEnded, Events
from engine.telemetry.meter import Meter
from engine.workers.base import UNWANTED

LONE_REFUSALS = 3
"""Refusals of one item from which the item itself counts as refused, if others went well."""


def retry_policy(options: StageOptions, limits: LimitSettings) -> RetryPolicy:
    """When the attempts of a step with these options follow one another."""
    return RetryPolicy(
        attempts=options.attempts,
        patience=options.patience,
        first=limits.backoff,
        cap=limits.backoff_cap,
        jitter=random.random,
    )


class Settling:
    """Brings the attempts of one pool to their ends: done, ended otherwise, held for another
    attempt, or given up with the whole run.

    `counts` has the number of attempts by outcome, `timed_out` the seconds of those that ran out of
    time, and `blocked` the time in which ends waited for room in the next stages.
    """

    def __init__(
        self,
        stage: type[Stage],
        name: str,
        policy: RetryPolicy,
        gates: Gates,
        holding: Holding,
        events: Events,
        hooks: Hooks,
    ) -> None:
        """`name` is the step's."""
        self._item_failures = stage.item_failures
        self._name = name
        self._policy = policy
        self._gates = gates
        self._holding = holding
        self._events = events
        self._hooks = hooks
        self.counts: Counter[str] = Counter()
        self.timed_out = 0.0
        self.blocked = Meter()

    async def settle(self, attempt: Attempt, tasks: TaskGroup, *, left: bool = False) -> bool:
        """Bring the attempt to its end; returns whether the item leaves the pool with it.

        `left`: it has left already, and another attempt has to come in like a new entry.
        """
        conclusion = self._conclude(attempt)
        self.counts[conclusion.outcome] += 1
        if self._events.listeners:
            self._tell(attempt, conclusion)
        end, delay = conclusion.end, conclusion.delay
        if delay is not None:
            attempt.row.due, attempt.row.gate = time.time() + delay, attempt.closed
        if end is not None and not (end.has_output or end.retryable):
            await attempt.draft.adiscard_partial()
        # The worker waits here until the end is recorded and the next inboxes have room. That is
        # the back-pressure: a full stage holds its predecessors' workers, up to the source.
        with self.blocked:
            await self._hooks.concluded(conclusion)
        if delay is None:
            return True
        self._hold(attempt, delay, tasks, left=left)
        return False

    def _conclude(self, attempt: Attempt) -> Conclusion:
        """The conclusion from the result: done, ended otherwise, another attempt, or a stop of the
        run."""
        journey, row, result = attempt.entry.journey, attempt.row, attempt.result
        ending, stop = result.ending, result.stop
        if stop is not None:
            failure = Failure("stopped", str(stop))
            return Conclusion(journey, row, "interrupted", failure, stop=stop)
        if ending is None:
            end = End(
                self._name, "done", attempt.draft.fingerprint, result.expanded, parts=result.parts
            )
            return Conclusion(journey, row, "done", None, end)
        if attempt.draft.is_unwanted:
            return Conclusion(journey, row, "interrupted", Failure("withdrawn", UNWANTED))
        if isinstance(ending, Fault) and ending.kind == "timeout":
            self.timed_out += attempt.seconds
        return self._judge(attempt, ending)

    def _judge(self, attempt: Attempt, ending: Ending) -> Conclusion:
        """The conclusion from an ending other than done: the stage's end, or another attempt."""
        entry = attempt.entry
        alone_for = attempt.alone_for if isinstance(ending, Throttled) else None
        verdict = self._policy.judge(
            ending, entry.attempt, entry.held_for, attempt.pause, alone_for
        )
        reason = ending.reason
        if verdict.final and alone_for is not None:
            reason += "; others there went well, so it is not waited for any longer"
        failure = Failure(ending.kind, reason, getattr(ending, "traceback", None))
        concluded = Conclusion(entry.journey, attempt.row, verdict.outcome, failure)
        if isinstance(ending, Withdrawn):
            attempt.counts = False
            delay = None if entry.journey.is_decided else ending.again
            return concluded._replace(outcome="interrupted", delay=delay)
        if verdict.delay is not None and entry.journey.is_decided:
            return concluded._replace(outcome="interrupted")
        if verdict.delay is None:
            return concluded._replace(end=self._end(attempt, ending, failure))
        attempt.counts = verdict.counts
        return concluded._replace(delay=verdict.delay)

    def _end(self, attempt: Attempt, ending: Ending, failure: Failure) -> End:
        """The stage's end with the item, from its last attempt."""
        fingerprint = attempt.draft.fingerprint
        if isinstance(ending, Skip):
            return End(self._name, "done", fingerprint, failure=failure)
        if isinstance(ending, Drop):
            return End(self._name, "dropped", fingerprint, failure=failure)
        alone = ending.kind in self._item_failures and not (
            isinstance(ending, Throttled) and attempt.alone_for is None
        )
        retryable = not isinstance(ending, Permanent)
        return End(
            self._name, "failed", fingerprint, retryable=retryable, alone=alone, failure=failure
        )

    def _hold(self, attempt: Attempt, delay: float, tasks: TaskGroup, *, left: bool) -> None:
        """Hold the item until its next attempt."""
        entry, ending = attempt.entry, attempt.result.ending
        assert ending is not None
        entry.attempt += attempt.counts
        self._holding.hold(
            entry,
            delay,
            attempt.gate,
            tasks,
            throttled=isinstance(ending, Throttled),
            left=left,
            why=ending.reason,
        )

    def _tell(self, attempt: Attempt, conclusion: Conclusion) -> None:
        failure = conclusion.failure
        self._events.emit(
            AttemptEnded(
                item=attempt.entry.item.id,
                stage=self._name,
                worker=attempt.row.worker,
                attempt=attempt.entry.attempt,
                outcome=conclusion.outcome,
                final=conclusion.end is not None,
                seconds=attempt.seconds,
                kind=failure.kind if failure else None,
                reason=failure.reason if failure else None,
                delay=conclusion.delay,
                paid=attempt.paid,
            )
        )

    # Gates

    def leave_gate(self, attempt: Attempt) -> None:
        """Leave the gate, if there is one, and close the gate that a Throttled names."""
        ending = attempt.result.ending
        if ending is None and attempt.entry.gate is None:
            return
        throttled = isinstance(ending, Throttled)
        if isinstance(ending, Throttled):
            key = ending.key or attempt.gate
            if key is None:
                attempt.entry.turned_away += 1
                attempt.pause = pause_after(ending.after, attempt.entry.turned_away)
            else:
                self._turned_away(attempt, ending, key)
        self._holding.leave(attempt.entry, throttled=throttled, well=ending is None)

    def _turned_away(self, attempt: Attempt, ending: Throttled, key: str) -> None:
        entry, stay = attempt.entry, attempt.entry.stay
        together = stay.size if stay is not None and stay.key == key else 1
        refusal = self._gates.refuse(
            key,
            ending.after,
            ending.reason,
            entry.item.id,
            entry.refusal,
            doubtful=ending.kind in self._item_failures,
            together=together,
        )
        entry.refusal, attempt.pause, attempt.closed = refusal, refusal.seconds, key
        if together > 1 and refusal.times > 1:
            entry.alone = True  # or nobody would know whether it is this one that is turned away
        if refusal.alone and refusal.times >= LONE_REFUSALS:
            attempt.alone_for = anyio.current_time() - refusal.since
