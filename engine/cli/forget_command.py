"""`penstock forget`: an item out of the results, the stores beside them, its folder, the ledger."""

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
from engine.flow.finishing import finish_context, item_finish, run_finish
from engine.ledger.forgetting import has_results
from engine.ledger.lock import locked
from engine.ledger.outputs.taking_out import bytes_in, clear_aside, set_aside
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE, told
from engine.ledger.writer import Ledger
from engine.telemetry.text import size


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
    with locked(folder), told(folder / FILE):
        with LedgerReader(folder) as reader:
            record = _find(reader, pipeline, name)
        config = stored_config(folder, last, pipeline, trusted, ())
        click.echo(f"forgetting {record.id}: {record.source}")
        for line in _forget(folder, pipeline, config, record):
            click.echo(f"  {line}")
    if (folder / REPORT).is_file():
        click.echo(f"{folder / REPORT} was written before: penstock report writes it anew")


def _forget(folder: Path, pipeline: Pipeline, config: Config, record: ItemRecord) -> Iterator[str]:
    if pipeline.forget is not None:
        context = finish_context(pipeline, config, folder, lambda: iter([record]))
        yield from pipeline.forget(context, record)
    item_gone = item_finish(pipeline, config, folder)
    if pipeline.finish is not None and has_results(folder):
        yield from anyio.run(run_finish, pipeline, config, folder, {record.id})
    elif item_gone is not None:
        item_gone(record.id, gone=True)
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
    """Delete the item's folder; returns its bytes."""
    clear_aside(workdir)  # of one that was killed
    counted = bytes_in(record.folder)
    set_aside(workdir, record.folder)
    clear_aside(workdir)
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
