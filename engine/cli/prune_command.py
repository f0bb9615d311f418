"""`penstock prune`: finished items of long ago out of results, folders, and the ledger."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import click

from engine.cli.folder_commands import last_run, stored_config
from engine.config.load import Config
from engine.contract import registry
from engine.contract.errors import UsageError
from engine.contract.item import Item
from engine.contract.pipeline import Pipeline
from engine.flow.finishing import finish_context, item_finish, run_finish
from engine.ledger.forgetting import has_results, read_old_items
from engine.ledger.lock import locked
from engine.ledger.outputs.kept_files import delete_unused, unused_files
from engine.ledger.outputs.taking_out import bytes_in, clear_aside, set_aside
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE, told
from engine.ledger.writer import Ledger
from engine.telemetry.text import counted, size


def prune_folder(workdir: str, older: float, *, sinks: bool, dry_run: bool, trusted: bool) -> None:
    """Take the items that ended, and were last asked for, over `older` seconds ago out of the work
    folder, and print what that frees; with `sinks` out of the stores that the pipeline writes to,
    too. Of what the pipeline keeps, such as paid answers, goes what was not used since then.

    Each item's row goes last: whenever it is killed, the same command goes on. Raises
    WorkFolderError while a run is at work.
    """
    folder, before = Path(workdir), time.time() - older
    with LedgerReader(folder) as reader:
        last = last_run(reader)
    pipeline = registry.pipeline(last.pipeline)
    if dry_run:
        old = read_old_items(folder, before)
        freed = sum(bytes_in(_folder(folder, item)) for item in old)
        kept = sum(size for _, size in unused_files(folder, pipeline.kept, before))
        click.echo(f"{_items(pipeline, len(old))} would go: {size(freed)} of outputs")
        click.echo(f"kept answers that were not used since: {size(kept)}")
        return
    with locked(folder), told(folder / FILE):
        config = stored_config(folder, last, pipeline, trusted, ())
        for line in _prune(folder, pipeline, config, before, sinks=sinks):
            click.echo(line)


def _prune(
    folder: Path, pipeline: Pipeline, config: Config, before: float, *, sinks: bool
) -> Iterator[str]:
    clear_aside(folder)  # of one that was killed
    old = read_old_items(folder, before)
    if old and sinks:
        yield from _out_of_sinks(folder, pipeline, config, old)
    if old:
        yield from _out_of_results(folder, pipeline, config, old)
    freed = 0
    with closing(Ledger(folder / FILE)) as ledger:
        for item in old:
            freed += bytes_in(_folder(folder, item))
            set_aside(folder, _folder(folder, item))
            clear_aside(folder, item)
            ledger.begin()
            ledger.forgetting.forget(item)
            ledger.commit()
    clear_aside(folder)
    yield f"{_items(pipeline, len(old))} taken out: {size(freed)} of outputs"
    if kept := delete_unused(folder, pipeline.kept, before):
        yield f"kept answers that were not used since: {size(kept)}"


def _out_of_sinks(
    folder: Path, pipeline: Pipeline, config: Config, old: Sequence[str]
) -> Iterator[str]:
    if pipeline.forget is None:
        raise UsageError(f"--sinks: pipeline {pipeline.name!r} writes to none")
    with LedgerReader(folder) as reader:
        for item in old:
            record = reader.item_record(item)
            if record is not None:
                context = finish_context(pipeline, config, folder, partial(iter, [record]))
                pipeline.forget(context, record)
    yield f"sinks: {_items(pipeline, len(old))} taken out"


def _out_of_results(
    folder: Path, pipeline: Pipeline, config: Config, old: Sequence[str]
) -> Iterator[str]:
    item_gone = item_finish(pipeline, config, folder)
    if pipeline.finish is not None and has_results(folder):
        yield from anyio.run(run_finish, pipeline, config, folder, set(old))
    elif item_gone is not None:
        for item in old:
            item_gone(item, gone=True)


def _folder(workdir: Path, item: str) -> Path:
    return Item.at(workdir, item, item).folder


def _items(pipeline: Pipeline, number: int) -> str:
    return counted(number, pipeline.unit)
