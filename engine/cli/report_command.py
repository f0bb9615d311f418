"""`penstock report`: the page of a work folder, as one file, or served."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import click
from pydantic import BaseModel

from engine.cli.options import WebAddress, web_address
from engine.contract.errors import PenstockError, UsageError, WorkFolderError
from engine.contract.pipeline import Pipeline
from engine.ledger.lock import is_locked
from engine.ledger.reader import LedgerReader, RunRow
from engine.page.page import render_file

FILE = "report.html"


def show_report(workdir: str, out: str | None, web: int | None, web_host: str | None) -> None:
    """Write the page of `workdir`, or serve it where a port is given. Raises UsageError for both,
    and as these do."""
    served = web_address(web, web_host)
    if served is None:
        write_report(workdir, out)
    elif out is None:
        serve_report(workdir, served)
    else:
        raise UsageError("--out writes the page, and --web serves it: give one of them")


def write_report(workdir: str, out: str | None) -> None:
    """Write the page of `workdir`, also while a run is at work there.

    Raises WorkFolderError where it is no work folder, UsageError where `out` cannot be written.
    """
    from engine.cli.folder_commands import pipeline_of

    folder = Path(workdir)
    html = render_file(pipeline_of(_last_run(folder)), folder, running=is_locked(folder))
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


def serve_report(workdir: str, web: WebAddress) -> None:
    """Serve the page of `workdir` until Ctrl-C, also while a run is at work there.

    Raises WorkFolderError where it is no work folder, UsageError where the port cannot be had.
    """
    from engine.cli.folder_commands import pipeline_of
    from engine.cli.run_command import bound_port
    from engine.page.live import LivePage

    folder = Path(workdir)
    last = _last_run(folder)
    pipeline = pipeline_of(last)
    settings = _own_settings(folder, last, pipeline)
    port = bound_port(web)

    async def serve() -> None:
        await LivePage(pipeline, folder, port, settings=settings).serve()

    try:
        with suppress(KeyboardInterrupt):
            anyio.run(serve)
    finally:
        port.close()


def _own_settings(folder: Path, last: RunRow, pipeline: Pipeline) -> Mapping[str, BaseModel] | None:
    """The stages' settings in the last run; None where it was somebody else's, or they are none of
    this version: nothing is opened or asked then because a setting says so."""
    from engine.cli.folder_commands import stored_config

    try:
        config = stored_config(folder, last, pipeline, trusted=False, overrides=())
    except PenstockError:
        return None
    return {name: stage.settings for name, stage in config.stages.items()}


def _last_run(folder: Path) -> RunRow:
    with LedgerReader(folder) as reader:
        last = reader.last_run()
    if last is None:
        raise WorkFolderError(f"{folder} has seen no run yet")
    return last
