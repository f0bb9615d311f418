"""One worker: where a stage's code runs. A task on the loop, a thread or a process, one interface.

Whatever the stage's code does, a worker answers with a `Result`; only the cancellation of the run
passes through.
"""

import errno
import inspect
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel

from engine.call_thread import CallThread
from engine.errors import BatchFault, Ending, Fault, PenstockError, StopRun, Throttled
from engine.item import Item
from engine.stage import Cancellation, Stage, current_attempt

log = logging.getLogger("penstock.engine")

GRACE = 5.0
"""Seconds that a thread whose attempt was given up has to notice, before it is replaced."""

HASTE = 0.5
"""Seconds that a thread has to notice that the run was cancelled, before it is left to itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt went: `ending` is None for done. `stop`: the whole run has to stop instead.

    `produced` are the items that came out of this one, to be read lazily, off the event loop;
    `expanded` is how many there were, once they have been read.
    """

    ending: Ending | None = None
    produced: Iterable[Item] | None = None
    expanded: int | None = None
    stop: StopRun | None = None


@dataclass(frozen=True, slots=True)
class StageFactory:
    """How to make an instance of a stage, here or in another process."""

    stage: type[Stage]
    settings: BaseModel
    workdir: Path

    def __call__(self) -> Stage:
        return self.stage(self.settings, self.workdir)


def result_of(error: BaseException) -> Result:
    """What an exception of a stage's code means."""
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        told = [leaf for leaf in leaves if _stops_the_run(leaf)]
        told += [leaf for leaf in leaves if isinstance(leaf, Ending)]
        if told:
            return result_of(told[0])
        return _fault(leaves[0], error)
    if isinstance(error, StopRun):
        return Result(stop=error)
    if isinstance(error, Ending):
        return Result(ending=error)
    if isinstance(error, OSError) and _stops_the_run(error):
        where = f" while writing {error.filename}" if error.filename else ""
        return Result(stop=StopRun(f"the disk is full{where}; free some space and run again"))
    return _fault(error, error)


def _fault(told: BaseException, error: BaseException) -> Result:
    """The end of an attempt by a bug: `told` is what its reason says, `error` all that is known."""
    text = " ".join(str(told).split()) or "no message"
    trace = "".join(traceback.format_exception(error))
    fault = Fault(f"{type(told).__name__}: {text}", kind="unexpected", traceback=trace)
    return Result(ending=fault)


def _stops_the_run(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, StopRun) or (isinstance(error, OSError) and error.errno in full)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def result_of_return(value: object) -> Result:
    """What the value that `process` returned means."""
    if value is None:
        return Result()
    if isinstance(value, Iterable):
        return Result(produced=value)
    fault = TypeError(f"process() returned {value!r}; it returns None or an iterable of items")
    return result_of(fault)


def results_of_batch(answers: object, count: int) -> list[Result]:
    """What `process_batch` returned for `count` items means."""
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise TypeError(f"process_batch() returned {answers!r}; it returns {count} answers")
    return [Result() if answer is None else result_of(answer) for answer in answers]


def result_of_whole_batch(error: Exception) -> Result:
    """What an exception that `process_batch` raised means for each item of the batch."""
    result = result_of(error)
    ending = result.ending
    if ending is None or isinstance(ending, Throttled):
        return result
    trace = getattr(ending, "traceback", None)
    return Result(ending=BatchFault(ending.reason, kind=ending.kind, traceback=trace))


def gave_up(timeout: float) -> Fault:
    """The ending of an attempt that took more than `timeout` seconds."""
    return Fault(f"gave up after {timeout:g} seconds", kind="timeout")


class Worker(ABC):
    """Where a stage's code runs. One call at a time, each given up after `timeout` seconds."""

    broken = False
    """Set when this worker can take no more items and has to be replaced."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    @abstractmethod
    async def open(self) -> None:
        """Load what the stage needs. Raises what the stage's `open` raises."""

    @abstractmethod
    async def process(self, item: Item, out: Path) -> Result:
        """One attempt at one item."""

    @abstractmethod
    async def process_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        """One attempt at several items together. An exception of the batch as a whole is raised."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what was loaded. Does not raise, and does not wait for a hung stage."""


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


class LoopWorker(Worker):
    """A slot on the event loop. All workers of an async stage share one instance of it."""

    def __init__(self, stage: Stage, timeout: float) -> None:
        super().__init__(timeout)
        self._stage = stage

    async def open(self) -> None:
        """Nothing: the crew opens the instance that its workers share."""

    async def process(self, item: Item, out: Path) -> Result:
        with anyio.move_on_after(self.timeout):
            try:
                return result_of_return(await self._stage.process(item, out))
            except (Exception, SystemExit) as error:
                return result_of(error)
            except anyio.get_cancelled_exc_class() as error:
                if anyio.get_current_task().has_pending_cancellation():
                    raise
                return result_of(error)  # nobody cancelled us: it awaited what others cancelled
        return Result(ending=gave_up(self.timeout))

    async def process_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        with anyio.fail_after(self.timeout):
            answers: Any = self._stage.process_batch(items, outs)
            if inspect.isawaitable(answers):
                answers = await answers
        return results_of_batch(answers, len(items))

    async def close(self) -> None:
        """Nothing: the crew closes the instance that its workers share."""


class ThreadWorker(Worker):
    """A thread with an instance of the stage of its own."""

    def __init__(self, factory: StageFactory, timeout: float, name: str) -> None:
        super().__init__(timeout)
        self._factory = factory
        self._thread = CallThread(name)
        self._stage: Stage | None = None
        self._grace = GRACE

    async def open(self) -> None:
        self._stage = await self._thread.call(self._open)

    def _open(self) -> Stage:
        stage = self._factory()
        stage.open()
        return stage

    async def process(self, item: Item, out: Path) -> Result:
        assert self._stage is not None
        attempt = Cancellation()
        result: Result | None = None
        try:
            with anyio.move_on_after(self.timeout):
                result = await self._thread.call(_process, self._stage, item, out, attempt)
                return result
            await self._give_up(attempt)
            return Result(ending=gave_up(self.timeout))
        except anyio.get_cancelled_exc_class():
            self._grace = HASTE
            raise
        finally:
            attempt.requested = result is None

    async def process_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        assert self._stage is not None
        attempt = Cancellation()
        answers: object = None
        try:
            with anyio.move_on_after(self.timeout) as scope:
                answers = await self._thread.call(_batch, self._stage, items, outs, attempt)
            if scope.cancelled_caught:
                await self._give_up(attempt)
                raise TimeoutError(f"gave up the batch after {self.timeout:g} seconds")
            return results_of_batch(answers, len(items))
        except anyio.get_cancelled_exc_class():
            self._grace = HASTE
            raise
        finally:
            attempt.requested = answers is None

    async def _give_up(self, attempt: Cancellation) -> None:
        """Ask the thread to stop; one that does not within the grace is left to itself."""
        attempt.requested = True
        with anyio.move_on_after(GRACE) as scope:
            await self._thread.call(int)  # answered once the call before it has ended
        self.broken = scope.cancelled_caught

    async def close(self) -> None:
        if self._stage is not None and not self.broken:
            with anyio.move_on_after(self._grace, shield=True):
                await self._thread.call(_close, self._stage)
        self._thread.close()


def _process(stage: Stage, item: Item, out: Path, attempt: Cancellation) -> Result:
    current_attempt.set(attempt)
    try:
        return result_of_return(stage.process(item, out))
    except BaseException as error:
        return result_of(error)


def _batch(stage: Stage, items: list[Item], outs: list[Path], attempt: Cancellation) -> object:
    current_attempt.set(attempt)
    return stage.process_batch(items, outs)


def _close(stage: Stage) -> None:
    try:
        stage.close()
    except Exception as error:
        _log_close_error(stage.name, error)


def _log_close_error(stage: str, error: Exception) -> None:
    """A stage that cannot let go harms no item: it is logged, not raised."""
    log.warning("stage %s could not be closed: %s", stage, error, exc_info=error)


class StageOpenError(PenstockError):
    """A stage could not start, so the run cannot either."""

    def __init__(self, stage: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        super().__init__(f"stage {stage!r} could not start: {type(error).__name__}: {text}")
