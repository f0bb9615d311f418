"""Attempts at items in a pool: begun, worked on, and measured."""

from collections.abc import Mapping

from engine.contract.errors import BatchFault
from engine.contract.paid import new_tally
from engine.flow.attempt import Attempt, Entry, Hooks
from engine.flow.handing import PoolHanding
from engine.flow.in_hand import InHand
from engine.flow.settling import Settling
from engine.gates.resources import Share
from engine.ledger.outputs.drafts import Draft, Outputs
from engine.telemetry.events import AttemptStarted, Events
from engine.telemetry.meter import Meter
from engine.workers.base import Worker
from engine.workers.result import Result, killer
from engine.workers.team import Team


class Attempting:
    """Has the workers of one pool make attempts, each from its row in the ledger to its result. A
    gate is left with the result; what follows from that is `Settling`'s.

    `busy` measures the time of it, without the waits of a splitting stage for room.
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, str | None],
        attempts: int,
        team: Team,
        settling: Settling,
        events: Events,
        hooks: Hooks,
        outputs: Outputs,
        *,
        splits: bool,
        share: Share | None,
    ) -> None:
        """`name` is the step's, `attempts` are those that it has at an item. A stage that `splits`
        gives its `share` of what it needs to others while it waits for room."""
        self._name = name
        self._inputs = inputs
        self._attempts = attempts
        self._team = team
        self._settling = settling
        self._events = events
        self._hooks = hooks
        self._outputs = outputs
        self._splits = splits
        self._share = share
        self.busy = Meter()
        self._in_hand = InHand()
        self.cut_short = self._in_hand.cut_short

    def begin(self, entry: Entry, worker: int) -> Attempt:
        """An attempt at the entry, by the worker of this number, has begun."""
        journey = entry.journey
        reads = self._inputs.values()
        failures, of_parts = journey.failures_of(reads), journey.part_failures_of(reads)
        item = journey.item.with_inputs(self._inputs, failures, of_parts)
        if self._events.listeners:
            self._events.emit(AttemptStarted(item.id, self._name, worker, entry.attempt))
        row = self._hooks.attempt_started(item, self._name, worker, entry.attempt)
        entry.begun += 1
        fingerprint = journey.begin(self._name)
        draft = Draft(self._outputs, item, self._name, fingerprint, entry.begun)
        return Attempt(entry, row, draft, entry.gate)

    async def attempt(self, worker: Worker, number: int, entry: Entry) -> Attempt:
        """One attempt at one entry."""
        attempt, handing, tally = self.begin(entry, number), None, new_tally(entry.item.root.id)
        if self._splits:
            attempt.draft.handing = handing = await self._handing(attempt)
        with self.busy as began:
            if entry.suspect:
                attempt.result = await self._try_suspect(worker, number, attempt)
            else:
                attempt.result = await self._in_hand.process(worker, number, attempt.draft)
        attempt.seconds, attempt.paid = self.busy.changed - began, tally.requests
        if handing is not None:
            attempt.seconds -= handing.waited
            attempt.row.blocked = handing.waited
        attempt.row.cost = attempt.result.processor
        self._settling.leave_gate(attempt)
        return attempt

    async def _handing(self, attempt: Attempt) -> PoolHanding:
        journey, fingerprint = attempt.entry.journey, attempt.draft.fingerprint
        inner = await self._hooks.splitting(journey, self._name, fingerprint)
        return PoolHanding(inner, self.busy, self._settling.blocked, self._share)

    async def _try_suspect(self, worker: Worker, number: int, attempt: Attempt) -> Result:
        """Attempt an item that may have killed a run, when all others are done."""
        if attempt.entry.attempt > self._attempts:
            return Result(ending=killer(self._attempts))
        worker = await self._team.apart(worker)
        await self._hooks.tried_alone(attempt.row)
        return await self._in_hand.process(worker, number, attempt.draft)

    async def attempt_batch(
        self, worker: Worker, number: int, entries: list[Entry]
    ) -> list[Attempt]:
        """One attempt at each of these, as a batch."""
        attempts = [self.begin(entry, number) for entry in entries]
        tally = new_tally(*(entry.item.root.id for entry in entries))
        with self.busy as began:
            drafts = [attempt.draft for attempt in attempts]
            results = await self._in_hand.process_batch(worker, number, drafts)
        paid = tally.requests / len(attempts)
        seconds = (self.busy.changed - began) / len(attempts)
        for attempt, result in zip(attempts, results, strict=True):
            attempt.result, attempt.seconds, attempt.paid = result, seconds, paid
            attempt.row.cost = result.processor
            attempt.entry.alone |= isinstance(result.ending, BatchFault)
            self._settling.leave_gate(attempt)  # all leave before any has to wait for room
        return attempts
