"""One worker: where a stage's code runs. A task on the loop, a thread or a process, one interface.

Whatever the stage's code does, a worker answers with a `Result`; only the cancellation of the run
passes through.
"""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from pydantic import BaseModel

from engine.call_thread import Call, CallThread
from engine.errors import PenstockError
from engine.item import Item
from engine.outputs import Draft
from engine.processor_time import measured
from engine.result import (
    Result,
    gave_up,
    result_of,
    result_of_return,
    result_of_whole_batch,
    results_of_batch,
)
from engine.stage import Cancellation, Stage, current_attempt
from engine.time_limit import TimeLimit

log = logging.getLogger("penstock.engine")

T = TypeVar("T")

GRACE = 5.0
"""Seconds that a thread whose attempt was given up has to notice, before it is replaced."""

HASTE = 0.5
"""Seconds that a thread has to notice that the run was cancelled, before it is left to itself."""


@dataclass(frozen=True, slots=True)
class StageFactory:
    """How to make an instance of a stage, here or in another process. `name` is its step's: the
    stage's own where it is not given."""

    stage: type[Stage]
    settings: BaseModel
    workdir: Path
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.stage.name)

    def __call__(self) -> Stage:
        made = self.stage(self.settings, self.workdir)
        made.name = self.name
        return made


def conclude(draft: Draft, result: Result) -> Result:
    """Make the draft of an attempt that went so the stage's output, or remove it. Keeps it where
    items came out, which have to be read first. Blocks; returns how the attempt went after all."""
    if result.produced is not None:
        return result
    if result.ending is None and result.stop is None:
        try:
            draft.commit()
        except Exception as error:
            result = result_of(error)
        else:
            return result
    draft.remove()
    return result


class Worker(ABC):
    """Where a stage's code runs. One call at a time, each given up after `timeout` seconds.

    A draft that was handed in has been opened, and has become the stage's output or been removed,
    when the call returns; unless items came out, for then that is left to the caller. All calls
    belong in one task.
    """

    broken = False
    """Set when this worker can take no more items and has to be replaced."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    @abstractmethod
    async def open(self) -> None:
        """Load what the stage needs. Raises what the stage's `open` raises."""

    @abstractmethod
    async def process(self, draft: Draft) -> Result:
        """One attempt at one item."""

    @abstractmethod
    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        """One attempt at several items together; a result for each."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what was loaded. Does not raise, and does not wait for a hung stage."""


class SeparateWorker(Worker):
    """A worker whose stage runs where files are not written: the engine's part is done around it,
    in a thread where that takes time."""

    async def process(self, draft: Draft) -> Result:
        try:
            out = draft.open() if draft.outputs.instant else await draft.aopen()
        except Exception as error:
            return result_of(error)
        try:
            result = await self._attempt(draft.item, out)
            if draft.outputs.instant:
                return conclude(draft, result)
            return await to_thread.run_sync(conclude, draft, result)
        except BaseException:
            draft.remove()  # cancelled: the next run marks the attempt as interrupted
            raise

    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        try:
            results = await to_thread.run_sync(_open_all, drafts)
            opened = [draft for draft in drafts if draft.folder is not None]
            items = [draft.item for draft in opened]
            outs = [draft.folder for draft in opened if draft.folder is not None]
            try:
                answers = await self._attempt_batch(items, outs)
            except (Exception, SystemExit) as error:
                answers = [result_of_whole_batch(error)] * len(opened)
            return await to_thread.run_sync(_conclude_all, drafts, results, answers)
        except BaseException:
            for draft in drafts:
                draft.remove()
            raise

    @abstractmethod
    async def _attempt(self, item: Item, out: Path) -> Result:
        """One attempt at one item, and what it came to. Only the run's cancellation is raised."""

    @abstractmethod
    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        """One attempt at several items together. An exception of the batch as a whole is raised."""


def _open_all(drafts: Sequence[Draft]) -> list[Result | None]:
    """Open every draft; for each, what went wrong."""
    failures: list[Result | None] = []
    for draft in drafts:
        try:
            draft.open()
            failures.append(None)
        except Exception as error:
            failures.append(result_of(error))
    return failures


def _conclude_all(
    drafts: Sequence[Draft], failures: Sequence[Result | None], answers: Iterable[Result]
) -> list[Result]:
    """`answers` are those of the drafts that did not fail before."""
    following = iter(answers)
    return [
        conclude(draft, next(following)) if failure is None else failure
        for draft, failure in zip(drafts, failures, strict=True)
    ]


class SharedStage:
    """The one instance of an async stage, which the workers of its pool share."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def open(self) -> None:
        """Raises what the stage's `open` does: a PenstockError as it is, else StageOpenError."""
        try:
            opened = self.stage.open()
            if inspect.isawaitable(opened):
                await opened
        except PenstockError:
            raise
        except (Exception, SystemExit) as error:
            raise StageOpenError(self.stage.name, error) from error

    async def close(self) -> None:
        """Does not raise, and waits for at most GRACE seconds."""
        with anyio.move_on_after(GRACE, shield=True):
            try:
                closed = self.stage.close()
                if inspect.isawaitable(closed):
                    await closed
            except Exception as error:
                _log_close_error(self.stage.name, error)


class LoopWorker(SeparateWorker):
    """A slot on the event loop. All workers of an async stage share one instance of it."""

    def __init__(self, stage: Stage, timeout: float) -> None:
        super().__init__(timeout)
        self._stage = stage
        self._limit = TimeLimit(timeout)

    async def open(self) -> None:
        """Nothing of the stage's: the crew opens the instance that its workers share."""
        self._limit.open()

    async def _attempt(self, item: Item, out: Path) -> Result:
        with self._limit:
            try:
                return result_of_return(await self._stage.process(item, out))
            except (Exception, SystemExit) as error:
                return result_of(error)
            except anyio.get_cancelled_exc_class() as error:
                if anyio.get_current_task().has_pending_cancellation():
                    raise
                return result_of(error)  # nobody cancelled us: it awaited what others cancelled
        return Result(ending=gave_up(self.timeout))

    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        with self._limit:
            answers: Any = self._stage.process_batch(items, outs)
            if inspect.isawaitable(answers):
                answers = await answers
            return results_of_batch(answers, len(items))
        raise TimeoutError(f"gave up the batch after {self.timeout:g} seconds")

    async def close(self) -> None:
        """Nothing of the stage's: the crew closes the instance that its workers share."""
        self._limit.close()


class ThreadWorker(Worker):
    """A thread with an instance of the stage of its own. It opens and commits the drafts too: going
    to another thread takes longer than small files do."""

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
        self._stage = stage  # here, so that it is closed though nobody waits for it any more

    async def process(self, draft: Draft) -> Result:
        assert self._stage is not None
        attempt = Cancellation()
        call = self._thread.begin(_process, self._stage, draft, attempt)
        result = await self._within_limit(call, attempt, [draft])
        return result or Result(ending=gave_up(self.timeout))

    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        assert self._stage is not None
        attempt = Cancellation()
        call = self._thread.begin(_process_batch, self._stage, drafts, attempt)
        results = await self._within_limit(call, attempt, drafts)
        if results is None:
            error = TimeoutError(f"gave up the batch after {self.timeout:g} seconds")
            return [result_of_whole_batch(error)] * len(drafts)
        return results

    async def _within_limit(
        self, call: Call[T], attempt: Cancellation, drafts: Sequence[Draft]
    ) -> T | None:
        """What the call returns, or None if it was given up, and its drafts with it. Once it
        commits it is waited for, whatever happens."""
        try:
            with self._limit:
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
                draft.remove()
            raise
        for draft in drafts:
            await draft.aremove()
        return None

    async def close(self) -> None:
        if not self.broken:
            with anyio.move_on_after(self._grace, shield=True):
                await self._thread.call(self._close)
        self._thread.close()
        self._limit.close()

    def _close(self) -> None:
        if self._stage is None:  # it did not open
            return
        try:
            self._stage.close()
        except Exception as error:
            _log_close_error(self._stage.name, error)


def _process(stage: Stage, draft: Draft, attempt: Cancellation) -> Result:
    current_attempt.set(attempt)
    try:
        out = draft.open()
    except Exception as error:
        return result_of(error)
    with measured() as cost:
        try:
            result = result_of_return(stage.process(draft.item, out))
        except BaseException as error:
            result = result_of(error)
    if attempt.end():
        result = conclude(draft, result)
    else:
        draft.remove()
    return replace(result, processor=cost)


def _process_batch(stage: Stage, drafts: Sequence[Draft], attempt: Cancellation) -> list[Result]:
    current_attempt.set(attempt)
    failures = _open_all(drafts)
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
    return _conclude_all(drafts, failures, results)


def _log_close_error(stage: str, error: Exception) -> None:
    """A stage that cannot let go harms no item: it is logged, not raised."""
    log.warning("stage %s could not be closed: %s", stage, error, exc_info=error)


class StageOpenError(PenstockError):
    """A stage could not start, so the run cannot either."""

    def __init__(self, stage: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        super().__init__(f"stage {stage!r} could not start: {type(error).__name__}: {text}")
