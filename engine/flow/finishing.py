"""Parts of a run beside its items: the versions of packages, what is imported before the steps
open, and the pipeline's finish."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path
from platform import python_version
from typing import Protocol

import anyio
from anyio import to_thread

from engine.config.load import Config
from engine.contract.errors import PenstockError, StopRun
from engine.contract.pipeline import FinishContext, ItemRecord, Pipeline, RunRecord
from engine.ledger.reader import LedgerReader, read_item
from engine.telemetry.events import Event, ItemEnded, ItemEntered, ItemGivenUp, Pruned
from engine.telemetry.text import one_line
from engine.workers.call_thread import CallThread
from engine.workers.result import result_of

log = logging.getLogger("penstock.engine")

SHARE = 0.05
"""The most of a resident run's time that is spent on the finish of all items."""


def installed_versions(pipeline: Pipeline) -> dict[str, str]:
    """The versions of Python, of the engine's packages and of the pipeline's own, by name."""
    versions = {"python": python_version()}
    for package in ("penstock", "anyio", "pydantic", *pipeline.packages):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


async def import_first(pipeline: Pipeline) -> None:
    """Import what the pipeline wants imported before its steps open."""

    def import_all() -> None:
        for name in pipeline.imports:
            with suppress(ImportError):  # who needs it says so
                import_module(name)

    if pipeline.imports:
        await to_thread.run_sync(import_all)


_UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError)
"""Errors from reading a file that is missing, or does not hold the expected data."""


class FinishError(PenstockError):
    """The finish could not read the output of an item's stages."""

    def __init__(self, record: ItemRecord, error: Exception) -> None:
        text = one_line(f"{type(error).__name__}: {error}")
        super().__init__(
            f"the finish cannot read the outputs of {record.id}: {text}; delete {record.folder} "
            "and give its source again, and they are made anew"
        )


def finish_context(
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
    items: Callable[[], Iterator[ItemRecord]],
    *,
    is_over: bool = True,
) -> FinishContext:
    """The input of the pipeline's finish, with these items."""

    def run() -> RunRecord:
        with LedgerReader(workdir) as reader:
            return reader.latest_run()

    return FinishContext(
        workdir=workdir,
        settings={name: stage.settings for name, stage in config.stages.items()},
        versions=installed_versions(pipeline),
        items=items,
        run=run,
        is_over=is_over,
    )


class FinishOne(Protocol):
    """The pipeline's finish of the item of an id. `gone`: the item is about to be taken out of the
    work folder, so the results show it no longer. It blocks, and raises StopRun for a full disk,
    FinishError where the content of the item's folder is at fault."""

    def __call__(self, item: str, *, gone: bool = False) -> None: ...


def item_finish(pipeline: Pipeline, config: Config, workdir: Path) -> FinishOne | None:
    """None where the pipeline has none."""
    finish = pipeline.finish_item
    if finish is None:
        return None

    def items() -> Iterator[ItemRecord]:
        with LedgerReader(workdir) as reader:
            yield from reader.item_records()

    context = finish_context(pipeline, config, workdir, items, is_over=False)

    def finish_one(item: str, *, gone: bool = False) -> None:
        record = read_item(workdir, item)
        if record is None or record.outcome == "pending":
            return  # it has been taken up again, or out, meanwhile
        if gone:
            record = replace(record, outcome="dropped", kind="gone", reason="it is taken out")
        try:
            finish(context, record)
        except _UNREADABLE as error:
            if isinstance(error, OSError) and (full := result_of(error).stop):
                raise full from None
            raise FinishError(record, error) from error

    return finish_one


class WholeFinish:
    """The pipeline's finish of all items: once at the end of a run; and, while a resident run goes
    on, now and then, unless the pipeline has a finish of each item. A listener of the run.

    It is due when an item has ended since: at once where no item is under way, else after
    `limits.finish_every` seconds. It takes at most a SHARE of the time.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        config: Config,
        workdir: Path,
        stop: Callable[[StopRun], None],
        made: Callable[[], object],
    ) -> None:
        """`made` is called when it has made the results of all, while the run goes on."""
        self._made = made
        self._where = pipeline, config, workdir
        self._every = config.limits.finish_every
        self.is_repeated = (
            pipeline.finish is not None and pipeline.finish_item is None and self._every > 0
        )
        self._stop = stop
        self._one_at_a_time = anyio.Lock()
        self._under_way: set[str] = set()
        self._since = anyio.current_time() if (workdir / "items").is_dir() else None
        """When the first item ended that it has not seen, perhaps in an earlier run."""
        self._changed = anyio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ItemEntered):
            self._under_way.add(event.item)
        elif isinstance(event, ItemEnded | ItemGivenUp):
            self._under_way.discard(event.item)
        if isinstance(event, ItemEnded | Pruned) and self._since is None:
            self._since = anyio.current_time()
        self._changed.set()

    async def at_the_end(self) -> Sequence[str]:
        """Returns the lines for the report. Raises as `run_finish` does."""
        async with self._one_at_a_time:
            return await run_finish(*self._where)

    async def now_and_then(self) -> None:
        """Until cancelled. Where it fails, that is said, and it is tried again when it is next due;
        a full disk stops the run."""
        await import_first(self._where[0])
        while True:
            await self._until_due()
            self._since, began = None, anyio.current_time()
            try:
                async with self._one_at_a_time:
                    await run_finish(*self._where, is_over=False)
                self._made()
            except StopRun as stop:
                self._stop(stop)
                return
            except Exception as error:
                told = None if isinstance(error, PenstockError) else error
                log.warning("the results are as they were: %s", error, exc_info=told)
            await anyio.sleep((anyio.current_time() - began) * (1 / SHARE - 1))

    async def _until_due(self) -> None:
        while self._since is None or self._under_way:
            left = math.inf
            if self._since is not None:
                left = self._since + self._every - anyio.current_time()
                if left <= 0:
                    return
            self._changed = anyio.Event()
            with anyio.move_on_after(left):
                await self._changed.wait()


async def run_finish(
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
    without: Collection[str] = (),
    *,
    is_over: bool = True,
) -> Sequence[str]:
    """Run the pipeline's finish in a thread, on all items but those of the ids in `without`;
    returns its lines for the report.

    Raises its errors, StopRun for a full disk, FinishError where the content of an item's folder is
    at fault. If it is cancelled, its thread is abandoned.
    """
    latest: ItemRecord | None = None

    def items() -> Iterator[ItemRecord]:
        nonlocal latest
        with LedgerReader(workdir) as reader:
            for record in reader.item_records():
                if record.id not in without:
                    latest = record
                    yield record
        latest = None

    assert pipeline.finish is not None
    context = finish_context(pipeline, config, workdir, items, is_over=is_over)
    thread = CallThread("penstock-finish")
    try:
        return await thread.call(pipeline.finish, context)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and (full := result_of(error).stop):
            raise full from None
        if latest is None:
            raise
        raise FinishError(latest, error) from error
    finally:
        thread.close()
