"""Parts of a run beside its items: the versions of packages, what is imported before the steps
open, and the pipeline's finish."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from platform import python_version

from anyio import to_thread

from engine.config.load import Config
from engine.contract.errors import PenstockError
from engine.contract.pipeline import FinishContext, ItemRecord, Pipeline, RunRecord
from engine.ledger.reader import LedgerReader
from engine.telemetry.text import one_line
from engine.workers.call_thread import CallThread
from engine.workers.result import result_of


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
    )


async def run_finish(
    pipeline: Pipeline, config: Config, workdir: Path, without: str | None = None
) -> Sequence[str]:
    """Run the pipeline's finish in a thread, on all items but the one of the id `without`; returns
    its lines for the report.

    Raises its errors, StopRun for a full disk, FinishError where the content of an item's folder is
    at fault. If it is cancelled, its thread is abandoned.
    """
    latest: ItemRecord | None = None

    def items() -> Iterator[ItemRecord]:
        nonlocal latest
        with LedgerReader(workdir) as reader:
            for record in reader.item_records():
                if record.id != without:
                    latest = record
                    yield record
        latest = None

    assert pipeline.finish is not None
    context = finish_context(pipeline, config, workdir, items)
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
