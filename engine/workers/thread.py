"""A worker that is a thread, with an instance of the stage of its own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import to_thread

from engine.contract.item import Item
from engine.contract.paid import PaidTally, paid_tally
from engine.contract.stage import Cancellation, Stage, current_attempt
from engine.ledger.outputs.drafts import Draft
from engine.telemetry.processor_time import measured
from engine.workers.base import (
    GRACE,
    StageFactory,
    T,
    Worker,
    conclude,
    conclude_all,
    discard,
    drain,
    log_close_error,
    open_all,
)
from engine.workers.call_thread import Call, CallThread
from engine.workers.handing import Relay, ThreadTaker, split
from engine.workers.result import (
    Result,
    gave_up,
    result_of,
    result_of_return,
    result_of_whole_batch,
    results_of_batch,
)
from engine.workers.time_limit import TimeLimit

HASTE = 0.5
"""Seconds that a thread has to end its attempt once the run is cancelled; then it is abandoned."""


class ThreadWorker(Worker):
    """A thread with an instance of the stage of its own. The thread opens and commits the drafts
    too: for small files a switch of threads takes longer than the work."""

    def __init__(self, factory: StageFactory, timeout: float, name: str) -> None:
        super().__init__(timeout)
        self._factory = factory
        self._thread = CallThread(name)
        self._stage: Stage | None = None
        self._grace = GRACE
        self._limit = TimeLimit(timeout)

    async def open(self) -> None:
        self._limit.open()
        try:
            await self._thread.call(self._open)
        except anyio.get_cancelled_exc_class():
            self._grace = HASTE
            raise

    def _open(self) -> None:
        stage = self._factory()
        stage.open()
        self._stage = stage  # set here: it is closed even if nobody awaits `open` now

    async def process(self, draft: Draft) -> Result:
        assert self._stage is not None
        attempt = Cancellation()
        relay = None
        if self._stage.splits():
            assert draft.handing is not None
            relay = Relay(draft.handing, attempt)
        call = self._thread.begin(_process, self._stage, draft, attempt, relay, paid_tally.get())
        result = await self._within_limit(call, attempt, [draft], relay)
        return result or Result(ending=gave_up(self.timeout))

    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        assert self._stage is not None
        attempt = Cancellation()
        call = self._thread.begin(_process_batch, self._stage, drafts, attempt, paid_tally.get())
        results = await self._within_limit(call, attempt, drafts)
        if results is None:
            error = TimeoutError(f"gave up the batch after {self.timeout:g} seconds")
            return [result_of_whole_batch(error)] * len(drafts)
        return results

    async def _within_limit(
        self,
        call: Call[T],
        attempt: Cancellation,
        drafts: Sequence[Draft],
        relay: Relay | None = None,
    ) -> T | None:
        """The result of the call, or None if it was given up; its drafts are then removed. Once the
        attempt commits, the call is waited for, even past its time or a cancellation. `relay` is
        where the call asks for its parts to be handed over."""
        # `attempt` decides the race. If `request` comes first, the thread commits nothing. If the
        # thread ends the attempt first, it is committing: leaving it now would lose finished work.
        try:
            with self._limit:
                if relay is not None:
                    return await relay.result(call, self._limit)
                return await call.result()
            if not attempt.request():
                return await call.result()
            with anyio.move_on_after(GRACE) as scope:
                await call.result()
            self.broken = scope.cancelled_caught
        except anyio.get_cancelled_exc_class():
            self._grace = HASTE
            if not attempt.request():
                with anyio.CancelScope(shield=True):
                    await call.result()
            for draft in drafts:
                discard(draft)
            raise
        for draft in drafts:
            if draft.outputs.instant:
                discard(draft)
            else:
                await to_thread.run_sync(discard, draft)
        return None

    def drain(self) -> None:
        if self._stage is not None:
            drain(self._stage)

    def cut_short(self) -> None:
        self._limit.cut_short()

    async def close(self) -> None:
        if not self.broken:
            with anyio.move_on_after(self._grace, shield=True):
                await self._thread.call(self._close)
        self._thread.close()
        self._limit.close()

    def _close(self) -> None:
        if self._stage is None:  # the stage did not open
            return
        try:
            self._stage.close()
        except Exception as error:
            log_close_error(self._stage.name, error)


def _process(
    stage: Stage,
    draft: Draft,
    attempt: Cancellation,
    relay: Relay | None,
    tally: PaidTally | None,
) -> Result:
    current_attempt.set(attempt)
    paid_tally.set(tally)
    try:
        out = draft.open()
    except Exception as error:
        return result_of(error)
    with measured() as cost:
        if relay is not None:
            standing, taker = relay.handing.standing, ThreadTaker(out, relay)
            result = split(stage, draft.item, out, standing, taker)
        else:
            result = _result(stage, draft.item, out)
    if attempt.end():
        result = conclude(draft, result)
    else:
        discard(draft)
    return replace(result, processor=cost)


def _result(stage: Stage, item: Item, out: Path) -> Result:
    try:
        return result_of_return(stage.process(item, out), item)
    except BaseException as error:
        return result_of(error)


def _process_batch(
    stage: Stage, drafts: Sequence[Draft], attempt: Cancellation, tally: PaidTally | None
) -> list[Result]:
    current_attempt.set(attempt)
    paid_tally.set(tally)
    failures = open_all(drafts)
    opened = [draft for draft in drafts if draft.folder is not None]
    items = [draft.item for draft in opened]
    outs = [draft.folder for draft in opened if draft.folder is not None]
    try:
        with measured() as cost:
            answers: object = stage.process_batch(items, outs)
        results = results_of_batch(answers, len(items), cost)
    except BaseException as error:
        results = [result_of_whole_batch(error)] * len(opened)
    if not attempt.end():
        for draft in drafts:
            draft.remove()
        return results
    return conclude_all(drafts, failures, results)
