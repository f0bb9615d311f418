"""Workers that are slots on the event loop, and the one stage instance that they share."""

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from engine.contract.errors import PenstockError
from engine.contract.item import Item
from engine.contract.parts import Parts
from engine.contract.stage import Stage
from engine.ledger.outputs.drafts import Draft
from engine.workers.base import GRACE, SeparateWorker, StageOpenError, drain, log_close_error
from engine.workers.handing import LoopTaker
from engine.workers.result import (
    Result,
    gave_up,
    result_of,
    result_of_return,
    result_of_split,
    results_of_batch,
)
from engine.workers.time_limit import TimeLimit


class SharedStage:
    """The one instance of an async stage, which the workers of its pool share."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def open(self) -> None:
        """Open the stage. Raises its PenstockError as it is, another error as StageOpenError."""
        try:
            opened = self.stage.open()
            if inspect.isawaitable(opened):
                await opened
        except PenstockError:
            raise
        except (Exception, SystemExit) as error:
            raise StageOpenError(self.stage.name, error) from error

    def drain(self) -> None:
        """Tell the stage that the run takes nothing new. Does not raise."""
        drain(self.stage)

    async def close(self) -> None:
        """Close the stage. Does not raise, and waits for GRACE seconds at most."""
        with anyio.move_on_after(GRACE, shield=True):
            try:
                closed = self.stage.close()
                if inspect.isawaitable(closed):
                    await closed
            except Exception as error:
                log_close_error(self.stage.name, error)


class LoopWorker(SeparateWorker):
    """A slot on the event loop. All workers of an async stage share one instance of it."""

    def __init__(self, stage: Stage, timeout: float) -> None:
        super().__init__(timeout)
        self._stage = stage
        self._limit = TimeLimit(timeout)

    async def open(self) -> None:
        """Does nothing: the team opens the shared instance."""
        self._limit.open()

    async def _attempt(self, draft: Draft, out: Path) -> Result:
        if self._stage.splits():
            return await self._split(draft, out)

        async def process() -> Result:
            return result_of_return(await self._stage.process(draft.item, out), draft.item)

        return await self._within_limit(process)

    async def _split(self, draft: Draft, out: Path) -> Result:
        assert draft.handing is not None
        taker = LoopTaker(out, draft.handing, self._limit)
        parts = Parts(taker, draft.handing.standing)

        async def split() -> Result:
            value = await self._stage.split(draft.item, out, parts)
            return result_of_split(value, parts.position)

        return taker.outcome(await self._within_limit(split))

    async def _within_limit(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        with self._limit:
            try:
                return await attempt()
            except (Exception, SystemExit) as error:
                return result_of(error)
            except anyio.get_cancelled_exc_class() as error:
                if anyio.get_current_task().has_pending_cancellation():
                    raise
                return result_of(error)  # the stage awaited a task that others cancelled
        return Result(ending=gave_up(self.timeout))

    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        with self._limit:
            answers: Any = self._stage.process_batch(items, outs)
            if inspect.isawaitable(answers):
                answers = await answers
            return results_of_batch(answers, len(items))
        raise TimeoutError(f"gave up the batch after {self.timeout:g} seconds")

    def cut_short(self) -> None:
        self._limit.cut_short()

    async def close(self) -> None:
        """Does nothing: the team closes the shared instance."""
        self._limit.close()
