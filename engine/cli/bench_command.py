"""`penstock bench PIPELINE`: try numbers of workers, and recommend some."""

import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import click
from filelock import FileLock, Timeout

from engine.bench.configuration import parse_nodes, parse_tries
from engine.cli.options import (
    config_file,
    flag_settings,
    items_names,
    nothing_to_do,
    quiet_option,
    settings_options,
    source_options,
)
from engine.config.limits import LimitSettings
from engine.config.load import Config, load_config
from engine.config.schema import Schema
from engine.config.setting_text import is_secret
from engine.contract import registry
from engine.contract.errors import UsageError, WorkFolderError
from engine.contract.pipeline import Pipeline
from engine.sources.lists import open_list

MOST_ITEMS = 200
"""The most items of a list that are used by default: every trial runs all of them."""

LOCK = "bench.lock"


def bench_command(pipeline: Pipeline) -> click.Command:
    """The click command that benchmarks `pipeline`."""
    options = [
        *source_options(pipeline),
        click.Option(
            ["--try", "tries"],
            multiple=True,
            metavar="STAGE=1,2,4",
            help="Numbers of workers to try for a stage; once for each stage to vary.",
        ),
        click.Option(
            ["--repeat"],
            type=click.IntRange(1),
            default=3,
            show_default=True,
            help="How often each configuration is run.",
        ),
        click.Option(
            items_names(pipeline.unit),
            type=click.IntRange(1),
            help=f"Use so many items of the list; default all, up to {MOST_ITEMS}.",
        ),
        click.Option(
            ["--out"],
            metavar="DIR",
            default="penstock-bench",
            show_default=True,
            help="Where bench.html, .json and .csv go, and the work folders meanwhile.",
        ),
        click.Option(
            ["--simulate"], is_flag=True, help="Try on a model, and run only the best for real."
        ),
        click.Option(
            ["--ledger"],
            metavar="WORKDIR",
            help="With --simulate: take service times from this run's ledger.",
        ),
        click.Option(
            ["--check"],
            type=click.IntRange(0),
            default=3,
            show_default=True,
            help="With --simulate: how many of the best to run for real; 0: none.",
        ),
        click.Option(
            ["--cores"],
            type=click.IntRange(1),
            help="With --simulate --check 0: as if the machine had so many cores.",
        ),
        click.Option(
            ["--machines"],
            type=click.IntRange(1),
            default=1,
            help="With --simulate --check 0: as if so many machines shared the items.",
        ),
        click.Option(
            ["--nodes"],
            type=click.IntRange(1),
            help="With --simulate --check 0: the cluster's nodes, for steps that were on one.",
        ),
        click.Option(
            ["--node"],
            metavar="CPU=8,GPU=1",
            default="",
            help="With --nodes: what each has of what workers take; what is not named is plenty.",
        ),
        *settings_options(pipeline),
        quiet_option(),
    ]

    def callback(**given: Any) -> None:
        sys.exit(_bench(pipeline, given))

    return click.Command(
        pipeline.name,
        params=options,
        callback=callback,
        help=f"Find the workers with which a {pipeline.name} is fastest.\n\n"
        "Each configuration of --try runs over the same items, from an empty work folder. Where "
        "there are many, all of them get a few items and only the best third goes on to more. "
        "What a trial fetches or pays for is fetched and paid for in every trial.\n\n"
        "Exit codes: 0 all ran, 1 some configurations could not run, 2 wrong usage or settings, "
        "130 interrupted; what was measured until then is kept.",
        short_help=f"Find the workers with which a {pipeline.name} is fastest.",
        no_args_is_help=True,
    )


def _bench(pipeline: Pipeline, given: dict[str, Any]) -> int:
    """Check the options and run the bench; returns the exit code."""
    from engine.bench.session import Options, Session
    from engine.bench.trial import Setup

    simulate, check, cores = given["simulate"], given["check"], given["cores"]
    if given["ledger"] is not None and not simulate:
        raise UsageError("--ledger is for --simulate: give that too")
    if cores is not None and (not simulate or check):
        raise UsageError("--cores is for the model alone: give --simulate --check 0 too")
    if given["machines"] > 1 and (not simulate or check):
        raise UsageError("--machines is for the model alone: give --simulate --check 0 too")
    if given["nodes"] is not None and (not simulate or check):
        raise UsageError("--nodes is for the model alone: give --simulate --check 0 too")
    file, flags = config_file(given["config"]), flag_settings(pipeline, given)
    found = given["config"] is None
    config = _settings(pipeline, file, given["overrides"], flags, found=found)
    placements = {name: stage.options.placement for name, stage in config.stages.items()}
    tries = parse_tries(given["tries"], pipeline, placements)
    if off := [name for name in tries if name in config.off]:
        raise UsageError(f"--try {off[0]}: that step is off under these settings; leave it out")
    pipeline = pipeline.without(config.off)
    sources = _sources(pipeline, given["sources"], given["from_"], given["items"])
    if not sources and not (simulate and not check and given["ledger"]):
        raise nothing_to_do(pipeline)
    options = Options(
        setup=Setup(
            pipeline.name,
            str(file) if file is not None else None,
            tuple(given["overrides"]),
            flags,
        ),
        tries=tries,
        repeats=given["repeat"],
        sources=sources,
        simulated_items=given["items"],
        simulate=simulate,
        ledger=Path(given["ledger"]) if given["ledger"] is not None else None,
        check=check,
        cores=cores,
        machines=given["machines"],
        nodes=parse_nodes(given["nodes"], given["node"]),
        quiet=given["quiet"],
        command=_command(pipeline, sys.argv[1:], given["overrides"]),
    )
    with _held(Path(given["out"])) as out, _terminated_as_interrupted():
        return Session(pipeline, config, options, out).run()


def _settings(
    pipeline: Pipeline,
    file: Path | None,
    overrides: Sequence[str],
    flags: dict[str, Any],
    *,
    found: bool,
) -> Config:
    others = list(registry.pipelines().values())
    return load_config(pipeline, file, os.environ, overrides, flags, others=others, found=found)


def _command(pipeline: Pipeline, words: Sequence[str], overrides: Sequence[str]) -> str:
    """The command as it was typed, without the secrets in it: the files quote it."""
    schema, shown = Schema.of(pipeline, LimitSettings, ()), list(words)
    for override in overrides:
        name = override.partition("=")[0]
        field = schema.field(name.strip())
        if field is not None and is_secret(field):
            shown = [word.replace(override, f"{name}=…") for word in shown]
    return shlex.join(["penstock", *shown])


def _sources(
    pipeline: Pipeline, typed: Sequence[str], from_: str | None, count: int | None
) -> tuple[str, ...]:
    """The items of every trial, each once; read up front, since stdin can be read only once."""
    listed = open_list(from_) if from_ is not None else iter(())
    sources: dict[str, None] = {}
    for source in chain(map(pipeline.canonical, typed), listed):
        sources.setdefault(_canonical(pipeline, source))
        if len(sources) == (count or MOST_ITEMS):
            break
    return tuple(sources)


def _canonical(pipeline: Pipeline, source: str) -> str:
    try:
        return pipeline.canonical(source)
    except UsageError:
        return source.strip()  # the first stage reports the problem


@contextmanager
def _held(out: Path) -> Iterator[Path]:
    """The folder for the files and the work folders, locked for this process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK)
        lock.acquire(blocking=False)
    except Timeout:
        raise WorkFolderError(
            f"{out} is in use by another penstock bench; wait for it, or choose another with --out"
        ) from None
    except OSError as error:
        raise WorkFolderError(
            f"{out} cannot be written: {error.strerror}; choose another folder with --out"
        ) from None
    try:
        _clear(out)  # leftovers of a killed bench
        yield out
    finally:
        _clear(out)  # Ctrl-C may come while a work folder is being made, or removed
        lock.release()
        (out / LOCK).unlink(missing_ok=True)


def _clear(out: Path) -> None:
    from engine.bench.trial import TRIAL_FOLDER

    for left in out.glob(f"{TRIAL_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
