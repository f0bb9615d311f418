"""`penstock forget`: an item out of the results, the stores beside them, its folder, the ledger."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path, PurePath

import anyio
import click

from engine.cli.folder_commands import last_run, stored_config
from engine.cli.report_command import FILE as REPORT
from engine.config.load import Config
from engine.contract import registry
from engine.contract.errors import UsageError
from engine.contract.item import earlier_id, item_id
from engine.contract.pipeline import ItemRecord, Pipeline
from engine.contract.showing import shown
from engine.flow.finishing import finish_context, run_finish
from engine.ledger.lock import locked
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE, told
from engine.ledger.writer import Ledger
from engine.telemetry.text import size

DOOMED = ".forgotten"
"""Where an item's folder is while it is being deleted."""


def forget_item(workdir: str, name: str, trusted: bool) -> None:
    """Take an item out of the work folder and of the stores that its pipeline writes to, and print
    what was removed.

    The ledger's rows go last: whenever it is killed, the item is still known, and the same command
    goes on. Raises UsageError where there is no such item, WorkFolderError while a run is at work.
    """
    folder = Path(workdir)
    with LedgerReader(folder) as reader:
        last = last_run(reader)
        pipeline = registry.pipeline(last.pipeline)
        has_results = any(run.outcome == "done" for run in reader.runs())
    with locked(folder), told(folder / FILE):
        with LedgerReader(folder) as reader:
            record = _find(reader, pipeline, name)
        config = stored_config(folder, last, pipeline, trusted, ())
        click.echo(f"forgetting {record.id}: {record.source}")
        for line in _forget(folder, pipeline, config, record, has_results):
            click.echo(f"  {line}")
    if (folder / REPORT).is_file():
        click.echo(f"{folder / REPORT} was written before: penstock report writes it anew")


def _forget(
    folder: Path, pipeline: Pipeline, config: Config, record: ItemRecord, has_results: bool
) -> Iterator[str]:
    if pipeline.forget is not None:
        context = finish_context(pipeline, config, folder, lambda: iter([record]))
        yield from pipeline.forget(context, record)
    if pipeline.finish is not None and has_results:
        yield from anyio.run(run_finish, pipeline, config, folder, {record.id})
    yield f"{record.folder}: {size(_delete(folder, record))} deleted"
    ledger = Ledger(folder / FILE)
    try:
        ledger.begin()
        ledger.forgetting.forget(record.id)
        ledger.commit()
    finally:
        ledger.close()
    yield "the ledger: it is not known any more"


def _delete(workdir: Path, record: ItemRecord) -> int:
    """Delete the item's folder; returns its bytes. Nothing of it ever looks whole: it is first
    moved away."""
    doomed = workdir / DOOMED
    shutil.rmtree(doomed, ignore_errors=True)  # of one that was killed
    if record.folder.is_symlink():
        record.folder.unlink()  # the engine makes no links, and must not delete what it leads to
        return 0
    if not record.folder.is_dir():
        return 0
    counted = sum(path.lstat().st_size for path in record.folder.rglob("*"))
    doomed.mkdir()
    record.folder.rename(doomed / record.id)
    shutil.rmtree(doomed)
    return counted


def _find(reader: LedgerReader, pipeline: Pipeline, name: str) -> ItemRecord:
    """The item of this id, or whose source a person would type so. Raises UsageError."""
    ids = {name}
    with suppress(UsageError):  # it is no source, but may be an id
        source = pipeline.canonical(name)
        ids |= {item_id(source), earlier_id(source)}
    known, of_that_name = [], []
    for record in reader.item_records():
        if record.id in ids or record.source == shown(name):
            return record
        known.append(record.id)
        if PurePath(record.source).name == name:
            of_that_name.append(record.id)
    near = of_that_name[:1] or get_close_matches(name, known, 1)
    meant = f"; did you mean {near[0]}?" if near else "; give its id, or its source as it was given"
    raise UsageError(f"{reader.workdir} knows no {pipeline.unit} {name!r}{meant}")
