"""What a run has beside its items: the versions it works with, and the pipeline's finish."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from platform import python_version

from engine.call_thread import CallThread
from engine.config import Config
from engine.journal_reader import JournalReader
from engine.pipeline import FinishContext, ItemRecord, Pipeline
from engine.result import result_of


def installed_versions(pipeline: Pipeline) -> dict[str, str]:
    """The versions of Python, of the engine's packages and of the pipeline's own, by name."""
    versions = {"python": python_version()}
    for package in ("penstock", "anyio", "pydantic", *pipeline.packages):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


async def run_finish(pipeline: Pipeline, config: Config, workdir: Path) -> Sequence[str]:
    """Run the pipeline's finish in a thread; returns its lines for the report.

    Raises what it raises, StopRun for a full disk. A finish that is cancelled is left to itself.
    """

    def items() -> Iterator[ItemRecord]:
        with JournalReader(workdir) as reader:
            yield from reader.item_records()

    assert pipeline.finish is not None
    context = FinishContext(
        workdir=workdir,
        settings={name: stage.settings for name, stage in config.stages.items()},
        versions=installed_versions(pipeline),
        items=items,
    )
    thread = CallThread("penstock-finish")
    try:
        return await thread.call(pipeline.finish, context)
    except OSError as error:
        raise result_of(error).stop or error from None
    finally:
        thread.close()
