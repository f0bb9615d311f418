"""One worker: where a stage's code runs. A task on the loop, a thread or a process, one interface.

Whatever the stage's code does, a worker answers with a `Result`; only the cancellation of the run
passes through.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from pydantic import BaseModel

from engine.contract.errors import PenstockError
from engine.contract.item import Item
from engine.contract.stage import Stage
from engine.ledger.drafts import Draft
from engine.workers.result import Result, result_of, result_of_whole_batch

log = logging.getLogger("penstock.engine")

T = TypeVar("T")

GRACE = 5.0
"""Seconds that a thread whose attempt was given up has to notice, before it is replaced."""


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
            results = await to_thread.run_sync(open_all, drafts)
            opened = [draft for draft in drafts if draft.folder is not None]
            items = [draft.item for draft in opened]
            outs = [draft.folder for draft in opened if draft.folder is not None]
            try:
                answers = await self._attempt_batch(items, outs)
            except (Exception, SystemExit) as error:
                answers = [result_of_whole_batch(error)] * len(opened)
            return await to_thread.run_sync(conclude_all, drafts, results, answers)
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


def open_all(drafts: Sequence[Draft]) -> list[Result | None]:
    """Open every draft; for each, what went wrong."""
    failures: list[Result | None] = []
    for draft in drafts:
        try:
            draft.open()
            failures.append(None)
        except Exception as error:
            failures.append(result_of(error))
    return failures


def conclude_all(
    drafts: Sequence[Draft], failures: Sequence[Result | None], answers: Iterable[Result]
) -> list[Result]:
    """`answers` are those of the drafts that did not fail before."""
    following = iter(answers)
    return [
        conclude(draft, next(following)) if failure is None else failure
        for draft, failure in zip(drafts, failures, strict=True)
    ]


def log_close_error(stage: str, error: Exception) -> None:
    """A stage that cannot let go harms no item: it is logged, not raised."""
    log.warning("stage %s could not be closed: %s", stage, error, exc_info=error)


class StageOpenError(PenstockError):
    """A stage could not start, so the run cannot either."""

    def __init__(self, stage: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        super().__init__(f"stage {stage!r} could not start: {type(error).__name__}: {text}")
