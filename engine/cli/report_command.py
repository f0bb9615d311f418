"""`penstock report`: the page of a work folder, as one file."""

import os
from contextlib import suppress
from pathlib import Path

import click

from engine.contract import registry
from engine.contract.errors import UsageError, WorkFolderError
from engine.ledger.lock import is_locked
from engine.ledger.reader import LedgerReader
from engine.page.page import render_file

FILE = "report.html"


def write_report(workdir: str, out: str | None) -> None:
    """Write the page of `workdir`, also while a run is at work there.

    Raises WorkFolderError where it is no work folder, UsageError where `out` cannot be written.
    """
    folder = Path(workdir)
    with LedgerReader(folder) as reader:
        last = reader.last_run()
    if last is None:
        raise WorkFolderError(f"{folder} has seen no run yet")
    html = render_file(registry.pipeline(last.pipeline), folder, running=is_locked(folder))
    path = Path(out) if out is not None else folder / FILE
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(html, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with suppress(OSError):  # on a read-only disk it cannot even be missing
            new.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}; give --out") from None
    click.echo(f"wrote {path}")
