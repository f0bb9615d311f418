"""`status` and `retry` on a work folder, and `init`."""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from engine.cli.options import config_file, web_address
from engine.cli.run_command import execute
from engine.config import CONFIG
from engine.config.load import Config, load_config
from engine.config.schema import did_you_mean
from engine.config.template import render_config
from engine.config.trust import check_stored, is_own
from engine.contract import registry
from engine.contract.errors import PenstockError, UsageError, WorkFolderError
from engine.contract.item import whole_id
from engine.contract.job import Job
from engine.contract.pipeline import Pipeline
from engine.flow.journey.graph import Graph
from engine.gates.leftovers import make_room
from engine.ledger.lock import is_locked, locked
from engine.ledger.reader import LedgerReader, RunRow
from engine.ledger.retrying import discard_void_outputs
from engine.ledger.schema import FILE, told
from engine.ledger.writer import Ledger
from engine.telemetry.statistics import FailureKind
from engine.telemetry.text import counted
from engine.views.levels import Levels
from engine.views.report import Status, render_status, status_as_dict


def show_status(workdir: str, as_json: bool) -> None:
    """Print the state of the work folder. Raises WorkFolderError where it is none."""
    from shutil import get_terminal_size

    folder = Path(workdir)
    with LedgerReader(folder) as reader:
        last = last_run(reader)
        pipeline = pipeline_of(last)
        status = Status(
            pipeline=last.pipeline,
            workdir=folder,
            runs=last.id,
            running=is_locked(folder),
            outcome=last.outcome,
            total=reader.item_counts(),
            stages=reader.counts(pipeline),
            failures=reader.failure_kinds(),
            holds=reader.holds(),
            levels=Levels.of(pipeline),
            parts=reader.part_counts(),
            gaps=reader.gaps(),
        )
    if as_json:
        click.echo(json.dumps(status_as_dict(status), indent=2))
    else:
        width = min(get_terminal_size().columns, 120)
        click.echo(render_status(status, width=width), nl=False)


def retry_failures(
    workdir: str,
    kind: str | None,
    stage: str | None,
    gaps: bool,
    trusted: bool,
    overrides: Sequence[str],
    quiet: bool,
    log_json: str | None,
    web: int | None = None,
    web_host: str | None = None,
) -> int:
    """Run failed items again, and pending ones; returns the exit code. If a class or a stage is
    named, other pending items are left alone: a gate may hold them for hours.

    A named class may also be one of drops, such as items that are not yet published. With `gaps`
    only the failed parts of items that are done without them are tried again; otherwise all but
    those are.

    The settings are those of the last run, so that finished work stays finished; `overrides` and
    the environment override them. Unless the stored settings are `trusted`, or a run of this user
    recorded them, they may not choose code to run or where keys go: then it raises UsageError.
    """
    served = web_address(web, web_host)
    folder = Path(workdir)
    with LedgerReader(folder) as reader:
        last = last_run(reader)
        failures = reader.failure_kinds()
        drops = reader.drop_kinds()
    pipeline = registry.pipeline(last.pipeline)
    _check_choice("--stage", stage, {failure.stage for failure in failures}, pipeline.names)
    _check_choice("--class", kind, {failure.kind for failure in failures} | drops)
    _check_gaps(gaps, stage, kind, failures)
    config = stored_config(folder, last, pipeline, trusted, overrides)
    graph = Graph(pipeline, {})
    with locked(folder), told(folder / FILE):
        make_room(folder)
        ledger = Ledger(folder / FILE)
        try:
            after = {name: graph.descendants(name) for name in graph.names}
            ledger.begin()
            chosen = ledger.retrying.reset(after, kind, stage, gaps=gaps)
            discard_void_outputs(folder, chosen)
            ledger.commit()
        finally:
            ledger.close()
    ids = {one.item for one in chosen}
    if not quiet:
        click.echo(f"trying again: {_counted(ids, pipeline)}", err=True)
    is_choice = gaps or kind is not None or stage is not None
    only = {whole_id(id_) for id_ in ids} if is_choice else None
    pending = _pending(folder, only)
    return execute(pipeline, config, folder, pending, quiet, log_json, served, tell_failures=True)


def write_config(words: Sequence[str], force: bool) -> None:
    """Write the settings of the named pipelines, by default of all installed ones, into the named
    file, by default config.toml. Raises UsageError where a word is neither."""
    known = registry.names(registry.PIPELINES)
    chosen = [word for word in words if word in known]
    files = [word for word in words if word not in known]
    for word in files:
        if not Path(word).suffix and os.sep not in word:
            raise UsageError(
                f"there is no pipeline named {word!r}{did_you_mean(word, known)} "
                f"(for a file of that name write ./{word})"
            )
    if len(files) > 1:
        raise UsageError(f"one file at a time, not {' and '.join(files)}")
    path = Path(files[0] if files else CONFIG)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; give --force to overwrite it, or another name")
    pipelines = [registry.pipeline(name) for name in dict.fromkeys(chosen)]
    try:
        path.write_text(
            render_config(pipelines or list(registry.pipelines().values())), encoding="utf-8"
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}")


def stored_config(
    folder: Path, last: RunRow, pipeline: Pipeline, trusted: bool, overrides: Sequence[str]
) -> Config:
    """The settings of the last run, without flags that held for that run alone; `overrides` and the
    environment override them. Raises UsageError where they were recorded by somebody else, choose
    code to run or where keys go, and are not `trusted`."""
    others = list(registry.pipelines().values())
    stored = _without_flags_of_one_run(last.settings, pipeline)
    if not trusted and not is_own(last.settings, last.seal):
        check_stored(pipeline, stored, os.environ, overrides, config_file(None), folder, others)
    return load_config(pipeline, None, os.environ, overrides, {}, others=others, stored=stored)


def pipeline_of(last: RunRow) -> Pipeline:
    """The pipeline of the last run, for a view of it: without steps that were off in it."""
    pipeline = registry.pipeline(last.pipeline)
    with suppress(PenstockError):  # the settings of another release
        config = load_config(pipeline, None, {}, (), {}, stored=last.settings)
        return pipeline.without(config.off)
    return pipeline


def last_run(reader: LedgerReader) -> RunRow:
    """The last run of the work folder. Raises WorkFolderError where there was none."""
    last = reader.last_run()
    if last is None:
        raise WorkFolderError(f"{reader.workdir} has seen no run yet")
    return last


def _without_flags_of_one_run(settings: Mapping[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(json.dumps(settings))
    for dotted in (dotted for flag in pipeline.flags if flag.once for dotted in flag.sets):
        *sections, key = dotted.split(".")
        table = kept
        for section in sections:
            table = table.get(section, {})
        table.pop(key, None)
    return kept


def _pending(folder: Path, only: Collection[str] | None) -> Iterator[Job]:
    with LedgerReader(folder) as reader:
        for job in reader.pending_items():
            if only is None or job.id in only:
                yield job


def _counted(chosen: Collection[str], pipeline: Pipeline) -> str:
    """The number of items, and of parts of items, among these ids."""
    parts = [id_ for id_ in chosen if whole_id(id_) != id_]
    told = [counted(len(chosen) - len(parts), pipeline.unit)] if len(chosen) > len(parts) else []
    if parts:
        of = counted(len({whole_id(id_) for id_ in parts}), pipeline.unit)
        told.append(f"{counted(len(parts), 'part')} of {of}")
    return ", ".join(told) or counted(0, pipeline.unit)


def _check_gaps(
    gaps: bool, stage: str | None, kind: str | None, failures: Sequence[FailureKind]
) -> None:
    """Raises UsageError where `--gaps` is given and there are none, or is not given and all that is
    asked for are gaps."""
    asked = [
        failure
        for failure in failures
        if stage in (None, failure.stage) and kind in (None, failure.kind)
    ]
    if gaps and not any(failure.is_gap for failure in asked):
        how = " in that way" if stage or kind else ""
        raise UsageError(f"--gaps: nothing that is done lacks a part that failed{how}")
    if not gaps and (stage or kind) and asked and all(failure.is_gap for failure in asked):
        raise UsageError("what failed so are parts that finished items do without; add --gaps")


def _check_choice(
    option: str, given: str | None, failing: set[str], known: Sequence[str] = ()
) -> None:
    """Raises UsageError where nothing has failed in that way: the name is a typo, or there is
    nothing to do."""
    if given is None or given in failing:
        return
    if given in known:
        raise UsageError(f"{option} {given}: nothing has failed there")
    there = ", ".join(sorted(failing)) or "no failures at all"
    raise UsageError(f"{option} {given}: nothing has failed that way; there are: {there}")
