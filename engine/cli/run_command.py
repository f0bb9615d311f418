"""The subcommand of a pipeline: `penstock PIPELINE SOURCE… --from FILE --out DIR`."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import (
    WebAddress,
    config_file,
    flag_settings,
    nothing_to_do,
    settings_options,
    source_options,
    view_options,
    web_address,
)
from engine.config.load import Config, load_config
from engine.contract import registry
from engine.contract.errors import PipelineError, UsageError
from engine.contract.pipeline import Pipeline
from engine.sources.lists import open_list
from engine.sources.source import Sources
from engine.telemetry.events import Event, Events
from engine.telemetry.text import counted

if TYPE_CHECKING:  # the help does not load the modules of a run
    from engine.flow.report import RunReport
    from engine.flow.run import Background, Run
    from engine.page.port import Port


class PipelineCommand(click.Command):
    """Runs a pipeline over the sources that are given. Where the first word is the name of one of
    the pipeline's own commands, it is that command; a file of that name is given as ./NAME."""

    def __init__(self, pipeline: Pipeline, **more: Any) -> None:
        super().__init__(pipeline.name, help=pipeline.summary, **more)
        self._pipeline = pipeline

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args and args[0] in self._pipeline.commands:
            command, name = self._own(args[0]), f"{info_name} {args[0]}"
            return command.make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        names = self._pipeline.commands
        if names:
            room = formatter.width - 6 - max(map(len, names))
            with formatter.section("Commands"):
                formatter.write_dl([(n, self._own(n).get_short_help_str(room)) for n in names])

    def _own(self, name: str) -> click.Command:
        place = self._pipeline.commands[name]
        try:
            command = resolve_name(place)
        except (ImportError, AttributeError, ValueError) as error:
            whose = f"pipeline {self._pipeline.name!r}: the command {name!r}"
            raise PipelineError(f"{whose} cannot be loaded from {place}: {error}") from None
        if not isinstance(command, click.Command):
            raise PipelineError(f"pipeline {self._pipeline.name!r}: {place} is no click.Command")
        return command


def run_command(pipeline: Pipeline) -> click.Command:
    """The click command that runs `pipeline`."""
    options = [
        *source_options(pipeline),
        click.Option(
            ["--out", "workdir"],
            metavar="DIR",
            default=f"penstock-{pipeline.name}",
            show_default=True,
            help="The work folder: the outputs, and what lets a run go on.",
        ),
        *settings_options(pipeline),
        *view_options(),
    ]

    def callback(
        sources: tuple[str, ...],
        from_: str | None,
        workdir: str,
        config: str | None,
        overrides: tuple[str, ...],
        quiet: bool,
        log_json: str | None,
        web: int | None,
        web_host: str | None,
        **flags: Any,
    ) -> None:
        if not sources and from_ is None:
            raise nothing_to_do(pipeline)
        typed = [pipeline.canonical(source) for source in sources]
        settings = load_config(
            pipeline,
            config_file(config),
            os.environ,
            overrides,
            flag_settings(pipeline, flags),
            others=list(registry.pipelines().values()),
            found=config is None,
        )
        _check_typed(pipeline, typed, settings)
        given = _given(typed, open_list(from_) if from_ is not None else ())
        served = web_address(web, web_host)
        sys.exit(
            execute(
                *(pipeline, settings, Path(workdir), given, quiet, log_json, served),
                tell_failures=True,
            )
        )

    return PipelineCommand(pipeline, params=options, callback=callback, no_args_is_help=True)


def execute(
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
    sources: Sources,
    quiet: bool,
    log_json: str | None,
    web: WebAddress | None = None,
    listeners: Sequence[Callable[[Event], None]] = (),
    *,
    resident: bool = False,
    tell_failures: bool = False,
) -> int:
    """Run the pipeline, with a view, a final report, and more listeners; returns the exit code.
    `tell_failures`: a `quiet` run in which something failed says so in a line. `resident` as for
    `run_pipeline`."""
    from engine.flow.opening import run_pipeline
    from engine.views.choose import choose_view
    from engine.views.json_log import JsonLog, printing_aside
    from engine.views.levels import Levels
    from engine.views.news import NewsOfOutputs

    pipeline = pipeline.without(config.off)
    events = Events()
    log = JsonLog(Path(log_json)) if log_json is not None else None
    port: Port | None = None
    if log is not None:
        events.subscribe(log)
    for listener in listeners:
        events.subscribe(listener)

    def prepare(run: "Run") -> "Sequence[Background]":
        view = choose_view(run.snapshot, quiet=quiet, levels=Levels.of(pipeline))
        events.subscribe(view)
        if pipeline.news is not None:
            events.subscribe(NewsOfOutputs(pipeline.news, workdir, view.note))
        shown = _beside(events, view, view.refresh_forever)
        if port is None:
            return [shown]
        from engine.page.live import LivePage

        settings = {name: stage.settings for name, stage in config.stages.items()}
        page = LivePage(pipeline, run.workdir, port, run.snapshot, lambda: run.outcome, settings)
        events.subscribe(page)
        return [shown, _beside(events, page, page.serve)]

    try:
        port = bound_port(web) if web is not None else None
        with printing_aside() if log is not None and log.is_standard_output else nullcontext():
            report = run_pipeline(
                *(pipeline, config, workdir, sources),
                events=events,
                prepare=prepare,
                resident=resident,
            )
    finally:
        if log is not None:
            log.close()
        if port is not None:
            port.close()
    if not quiet:
        _show(pipeline, workdir, report, resident=resident)
    elif report.outcome == "stopped":
        click.echo(f"penstock: stopped: {report.why}", err=True)
    elif tell_failures and (line := _failures(pipeline, workdir, report)):
        click.echo(f"penstock: {line}", err=True)
    for line in report.discrepancies:
        click.echo(f"penstock: the ledger does not add up: {line}; please report this", err=True)
    if log is not None and log.problem is not None:
        click.echo(f"penstock: {log.problem}", err=True)
    return report.exit_code


def _failures(pipeline: Pipeline, workdir: Path, report: "RunReport") -> str:
    """A line on what failed in a run that went to its end, in place of its report; else ""."""
    if report.outcome != "done":
        return ""
    failed, gaps = report.items["failed"], report.with_gaps
    told = [f"{counted(failed, pipeline.unit)} failed"] if failed else []
    told += [f"{counted(gaps, pipeline.unit)} ended with gaps"] if gaps else []
    why = f"penstock status {shlex.quote(str(workdir))} says why"
    return "; ".join([*told, why]) if told else ""


def _beside(events: Events, listener: object, task: "Background") -> "Background":
    """The task, with its errors reported as those of the listener: they do not end the run."""

    async def run() -> None:
        try:
            await task()
        except Exception as error:
            events.failed(listener, error)

    return run


def bound_port(web: WebAddress) -> "Port":
    """The live page's port, bound; prints its address."""
    from engine.page.port import Port

    port = Port(web.port, web.host)
    told = "; anybody who can reach that address can read it" if port.is_public else ""
    click.echo(f"live page: {port.url}{told}", err=True)
    return port


def _show(
    pipeline: Pipeline, workdir: Path, report: "RunReport", *, resident: bool = False
) -> None:
    from shutil import get_terminal_size

    from engine.views.levels import Levels
    from engine.views.report import Summary, render_summary

    again = " Give the same command again to go on."
    summary = Summary(
        pipeline=pipeline.name,
        workdir=workdir,
        outcome=report.outcome if report.why is None else f"{report.outcome}: {report.why}.{again}",
        seconds=report.seconds,
        ended=sum(report.items[how] for how in ("done", "dropped", "failed"))
        - report.items["reused"],
        total=report.total,
        stages=report.counts,
        pools=report.pools,
        processor=report.processor,
        failures=report.failures,
        holds=report.holds,
        notes=report.finish,
        levels=Levels.of(pipeline),
        parts=report.parts,
        gaps=report.gaps,
        resident=resident,
    )
    color = sys.stdout.isatty()
    width = min(get_terminal_size().columns, 120)
    click.echo(render_summary(summary, width=width, color=color), nl=False)


def _check_typed(pipeline: Pipeline, typed: Sequence[str], config: Config) -> None:
    """Raises UsageError for all that is wrong with sources that were typed."""
    if pipeline.precheck is None:
        return
    settings, wrong = {name: stage.settings for name, stage in config.stages.items()}, []
    for source in dict.fromkeys(typed):
        try:
            pipeline.precheck(source, settings)
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(wrong))


def _given(typed: Sequence[str], listed: Iterable[str]) -> Iterator[str]:
    yield from typed
    yield from listed
