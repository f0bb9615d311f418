"""The interface of a worker: it runs a stage's code as a task on the loop, a thread or a process.

Whatever the stage's code does, a worker answers with a `Result`; only the cancellation of the run
passes through.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from anyio import to_thread
from pydantic import BaseModel

from engine.contract.errors import PenstockError, StandIn, Withdrawn
from engine.contract.item import Item
from engine.contract.ownership import why_not_ours
from engine.contract.stage import Stage
from engine.ledger.outputs.drafts import Draft
from engine.workers.handing import remove_part_folders
from engine.workers.result import DONE, Result, result_of, result_of_whole_batch

log = logging.getLogger("penstock.engine")

T = TypeVar("T")

UNWANTED = "the item was given up meanwhile"

GRACE = 5.0
"""Seconds that a thread has to end an attempt that was given up, before it is replaced."""


@dataclass(frozen=True, slots=True)
class StageFactory:
    """Makes instances of a stage, here or in another process. `name` is the step's name; it
    defaults to the stage's own. `ingredients` is the stage's own answer of that name."""

    stage: type[Stage]
    settings: BaseModel
    workdir: Path
    name: str = ""
    ingredients: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.stage.name)

    def __call__(self) -> Stage:
        made = self.stage(self.settings, self.workdir)
        made.name = self.name
        made.ingredients = self.ingredients
        return made


def conclude(draft: Draft, result: Result) -> Result:
    """Commit the draft as the stage's output if the attempt went well, else remove it. A draft
    whose attempt produced items is kept: the items have to be read first. Blocks; returns the final
    result, which is a failure where the commit failed."""
    if result.produced is not None:
        return result
    if draft.is_unwanted and result.stop is None:
        result = Result(ending=Withdrawn(UNWANTED))
    elif result == DONE and (not_ours := why_not_ours(draft.item)):
        result = Result(ending=not_ours)
    if isinstance(result.ending, StandIn):
        if draft.handing is None:
            draft.stand_in()
            result = replace(result, ending=None)
        else:
            result = result_of(TypeError("split() cannot raise StandIn: parts are what they are"))
    if result.ending is None and result.stop is None:
        try:
            draft.commit(parts=result.parts)
        except Exception as error:
            result = result_of(error)
        else:
            return result
    discard(draft)
    return result


def discard(draft: Draft) -> None:
    """Remove the draft, and the part that its stage had in the making. Does not raise."""
    if draft.handing is not None and draft.folder is not None:
        remove_part_folders(draft.folder)
    draft.remove()


class Access(Protocol):
    """Access to what several workers use by turns: entered before an attempt, and left after it."""

    def enter_nowait(self) -> bool:
        """Enter, where that takes no waiting; returns whether it did."""

    async def enter(self) -> None:
        """Wait until it is one's turn. Whoever is cancelled meanwhile has taken nothing."""

    def leave(self) -> None:
        """Give up the turn."""


class Worker(ABC):
    """Runs a stage's code. One call at a time; each is given up after `timeout` seconds, without
    those that it waits for the run to take a part.

    When a call returns, each draft that was handed in has been opened, and has become the stage's
    output or been removed. Only if it produced items is the draft left to the caller. All calls
    belong in one task.
    """

    broken = False
    """True if this worker can take no more items and has to be replaced."""

    access: Access | None = None
    """What the worker itself has to wait for before an attempt, such as a place on a cluster."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    @abstractmethod
    async def open(self) -> None:
        """Open the stage. Raises what the stage's `open` raises."""

    @abstractmethod
    async def process(self, draft: Draft) -> Result:
        """One attempt at one item."""

    @abstractmethod
    async def process_batch(self, drafts: Sequence[Draft]) -> list[Result]:
        """One attempt at several items together; a result for each, in order."""

    def drain(self) -> None:
        """Tell the stage, where this worker has an instance of its own here, that the run takes
        nothing new. Does not raise."""
        return

    @abstractmethod
    def cut_short(self) -> None:
        """Have the call under way, if there is one, end as if its time were over: all its drafts
        are unwanted."""

    @abstractmethod
    async def close(self) -> None:
        """Close the stage. Does not raise, and does not wait for a hung stage."""


class SeparateWorker(Worker):
    """A worker whose stage runs on the loop or in a process; its drafts are opened and committed
    here, in a thread where that takes time."""

    async def process(self, draft: Draft) -> Result:
        try:
            out = draft.open() if draft.outputs.instant else await draft.aopen()
        except Exception as error:
            return result_of(error)
        try:
            result = DONE if draft.is_unwanted else await self._attempt(draft, out)
            if draft.outputs.instant:
                return conclude(draft, result)
            return await to_thread.run_sync(conclude, draft, result)
        except BaseException:
            discard(draft)  # cancelled: the next run marks the attempt as interrupted
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
    async def _attempt(self, draft: Draft, out: Path) -> Result:
        """One attempt at the draft's item, writing into `out`, and its result. Only the run's
        cancellation is raised."""

    @abstractmethod
    async def _attempt_batch(self, items: list[Item], outs: list[Path]) -> list[Result]:
        """One attempt at several items together. An exception of the whole batch is raised."""


def open_all(drafts: Sequence[Draft]) -> list[Result | None]:
    """Open every draft; returns a failure for each draft that could not be opened, else None."""
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
    """Conclude the opened drafts with `answers`, their results in order; a draft in `failures`
    keeps its failure."""
    following = iter(answers)
    return [
        conclude(draft, next(following)) if failure is None else failure
        for draft, failure in zip(drafts, failures, strict=True)
    ]


def drain(stage: Stage) -> None:
    """Tell an instance that the run takes nothing new. Does not raise."""
    try:
        stage.drain()
    except Exception as error:
        log.warning("stage %s: drain() failed: %s", stage.name, error)


def log_close_error(stage: str, error: Exception) -> None:
    """A stage that fails to close harms no item: its error is logged, not raised."""
    log.warning("stage %s could not be closed: %s", stage, error, exc_info=error)


class StageOpenError(PenstockError):
    """A stage could not open, so the run cannot start."""

    def __init__(self, stage: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        super().__init__(f"stage {stage!r} could not start: {type(error).__name__}: {text}")
