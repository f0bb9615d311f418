"""`penstock`: the command. Every pipeline that is installed is a subcommand."""

import atexit
import gc
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from engine.cli.home import ensure_home
from engine.cli.options import (
    items_names,
    refuse_empty,
    set_option,
    view_options,
    web_options,
)
from engine.cli.removing import forget, prune
from engine.contract import registry
from engine.contract.errors import PenstockError, PipelineError, StopRun, UsageError
from engine.contract.showing import shown_in
from engine.telemetry.text import one_line


class WrongUsage(click.ClickException):
    """A command line that cannot be read, in one line: what is wrong, and where to look."""

    exit_code = 2

    def __init__(self, error: click.UsageError, command: str) -> None:
        told = one_line(error.format_message(), 1000).removesuffix(".")
        see = " See" if told.endswith("?") else "; see"
        super().__init__(f"{told}{see} {command} --help")

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"penstock: {self.message}", file=file, err=True)


@contextmanager
def wrong_usage_in_one_line(context: click.Context | None = None) -> Iterator[None]:
    """Within it, click's errors become WrongUsage. Those that do not say of which command are of
    the one that `context` is about to invoke. A command that is given nothing shows its help."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        words = ["penstock"]
        if error.ctx is not None:
            words = [error.ctx.command_path]
        elif context is not None:
            words = [context.command_path, *filter(None, [context.invoked_subcommand])]
        raise WrongUsage(error, " ".join(words)) from None


class SuggestingGroup(click.Group):
    """Suggests a subcommand for an unknown name."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(context), 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", context) from None


class PenstockGroup(SuggestingGroup):
    """Loads a subcommand only when it is used, and turns errors into one line and an exit code."""

    def list_commands(self, context: click.Context) -> list[str]:
        own = super().list_commands(context)
        brought = (*registry.names(registry.PIPELINES), *own, *registry.names(registry.COMMANDS))
        return list(dict.fromkeys(brought))

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, but for what is loaded."""
        from engine.cli.listing import listed

        found: dict[str, click.Command] = {}
        for name in self.list_commands(context):
            own = super().get_command(context, name)
            brought = None
            for group in () if own else (registry.PIPELINES, registry.COMMANDS):
                if name in registry.names(group):
                    brought = brought or listed(group, name)
            command = own or brought or self.get_command(context, name)
            if command is not None and not command.hidden:
                found[name] = command
        room = formatter.width - 6 - max(map(len, found))
        with formatter.section("Commands"):
            formatter.write_dl([(n, one.get_short_help_str(room)) for n, one in found.items()])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own  # no package can replace an own command
        try:
            if name in registry.names(registry.PIPELINES):
                from engine.cli.run_command import run_command

                return run_command(registry.pipeline(name))
            if name in registry.names(registry.COMMANDS):
                return registry.command(name)
        except PipelineError as error:
            return _broken_command(name, error)  # the others still work, and so does --help
        return None

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """Run the command and end the process."""
        # At its end Python would go through all objects of all libraries once more: with torch
        # loaded that takes a third of a second, and frees what the process gives back anyway.
        atexit.register(gc.freeze)
        try:
            return super().__call__(*arguments, **more)
        except SystemExit as left:
            _leave_threads_behind(left.code)
            raise

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with wrong_usage_in_one_line():
            refuse_empty(args)
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        _say_every_name()
        if not ensure_home():
            told = "this user has no home folder: weights and caches are not kept; set HOME to one"
            click.echo(f"penstock: {told}", err=True)
        try:
            with wrong_usage_in_one_line(context):
                return super().invoke(context)
        except UsageError as error:
            fail(error, 2)
        except StopRun as error:
            fail(error, 3)
        except PenstockError as error:
            fail(error, 1)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # The reader of our output is gone: there is nothing left to do.
            sys.stderr.close()
            sys.exit(0)


def _say_every_name() -> None:
    """Let the standard streams print any file name, in any locale.

    A file name may hold bytes that are no text: in UTF-8 they are printed as they are. Characters
    that another encoding lacks are escaped. Otherwise the report at the end of days of work could
    raise.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            as_it_is = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if as_it_is else "backslashreplace")


class PlanCommand(click.Command):
    """Accepts a number of items also in the words of the installed pipelines, such as --pages."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        names = items_names(*(one.unit for one in registry.find_pipelines().usable.values()))
        how_many = click.Option(names, type=int, required=True, help="How many of them.")
        return [how_many, *super().get_params(context)]


def _leave_threads_behind(code: int | str | None) -> None:
    """End the process here if a run has abandoned a thread, such as one that loads a model and
    cannot be stopped. Everything is written and printed by now. Python's own shutdown would end the
    thread inside a library, which may then abort the process with another exit code."""
    if threading.active_count() == 1 or isinstance(code, str):
        return
    from engine.workers.call_thread import is_any_left

    if not is_any_left():
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader is gone
            stream.flush()
    os._exit(code or 0)


class BenchGroup(SuggestingGroup):
    """Has every pipeline as a subcommand, loaded only when it is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        return registry.names(registry.PIPELINES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in registry.names(registry.PIPELINES):
            return None
        from engine.cli.bench_command import bench_command

        try:
            return bench_command(registry.pipeline(name))
        except PipelineError as error:
            return _broken_command(name, error)


def _broken_command(name: str, error: PipelineError) -> click.Command:
    def say_why(*_: object, **__: object) -> None:
        raise error

    return click.Command(
        name,
        callback=say_why,
        help=str(error),
        short_help=one_line(str(error), 400),
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def fail(error: Exception, code: int) -> None:
    """Print the error and leave with exit code `code`."""
    for line in shown_in(str(error)).split("\n"):
        click.echo(f"penstock: {line}", err=True)
    sys.exit(code)


@click.group(cls=PenstockGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="penstock")
def main() -> None:
    """Run pipelines over lists of any length, so that every item is accounted for.

    Kill it at any moment and give the same command again: nothing that was finished is lost.

    Exit codes: 0 all ended well, 1 some items failed, or parts of some, 2 wrong usage or settings,
    3 the run stopped itself, 130 interrupted.
    """


@main.command()
@click.argument("workdir", metavar="DIR", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(workdir: str, as_json: bool) -> None:
    """Say how a work folder stands, stage by stage."""
    from engine.cli.folder_commands import show_status

    show_status(workdir, as_json)


@main.command(
    params=[
        click.Argument(["workdir"], metavar="DIR"),
        click.Option(["--class", "kind"], metavar="CLASS", help="Only failures of this class."),
        click.Option(["--stage"], metavar="STAGE", help="Only failures in this stage."),
        click.Option(
            ["--gaps"],
            is_flag=True,
            help="Only failed parts of what is done without them, which are left alone otherwise.",
        ),
        click.Option(
            ["--trust", "trusted"],
            is_flag=True,
            help="Use the folder's settings also where they are not those of a run of yours.",
        ),
        set_option(),
        *view_options(),
    ]
)
def retry(
    workdir: str,
    kind: str | None,
    stage: str | None,
    gaps: bool,
    trusted: bool,
    overrides: tuple[str, ...],
    quiet: bool,
    log_json: str | None,
    web: int | None,
    web_host: str | None,
) -> None:
    """Try again what failed, and finish what was left, with the settings of the last run.

    See `penstock status` for the classes. With --class or --stage, those failures and nothing
    else. A class may also be one of drops: --class deferred tries again what was not yet published.
    """
    from engine.cli.folder_commands import retry_failures

    sys.exit(
        retry_failures(
            workdir, kind, stage, gaps, trusted, overrides, quiet, log_json, web, web_host
        )
    )


main.add_command(forget)
main.add_command(prune)


@main.command(
    params=[
        click.Argument(["workdir"], metavar="DIR", type=click.Path()),
        click.Option(["--out"], metavar="FILE", help="Default: report.html in DIR."),
        *web_options("Serve the page on this port until Ctrl-C, and write no file; 0: any."),
    ]
)
def report(workdir: str, out: str | None, web: int | None, web_host: str | None) -> None:
    """Write a page that shows what a work folder came to: one file, for any browser.

    The timeline of every item, queues and workers over time, the bottleneck, failures and how to
    retry them. It may be written while a run is going on; see also --web of the run itself.
    """
    from engine.cli.report_command import show_report

    show_report(workdir, out, web, web_host)


@main.command(cls=PlanCommand)
@click.argument("ledger", metavar="LEDGER", type=click.Path())
@click.option("--within", metavar="TIME", help="Time for them: 24h, 90m, 7d.")
@click.option("--machines", type=int, help="So many machines, in the place of --within.")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=N/UNIT",
    help="How many may start at a host, or be spent: example.org=300/h, requests=600/m.",
)
@click.option(
    "--each", multiple=True, metavar="NAME=N/UNIT", help="The same, of every machine for itself."
)
@click.option("--cluster", is_flag=True, help="The machines are one run, with one coordinator.")
@click.option("--nodes", type=int, help="So many nodes of a Ray cluster, in the place of --within.")
@click.option(
    "--node",
    metavar="CPU=8,GPU=1",
    default="",
    help="What a node has of what workers take: plans steps that were on a cluster for such nodes.",
)
@click.option("--cores", type=int, help="Cores of a machine; default: of the recorded one.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plan(**given: Any) -> None:
    """Say what a larger run takes, from the LEDGER of a small one.

    LEDGER is a work folder, or its penstock.db. The answer is workers, machines, what the pipeline
    counts (requests, bytes fetched), the disk, and what binds first.
    """
    from engine.cli.plan_command import show_plan

    show_plan(**given)


@main.command()
@click.argument("words", metavar="[PIPELINE]... [FILE]", nargs=-1)
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
def init(words: tuple[str, ...], force: bool) -> None:
    """Write config.toml: every setting with its default and one line on what it does.

    Of the pipelines that are named, else of all that are installed; into FILE, if one is named.
    """
    from engine.cli.folder_commands import write_config

    write_config(words, force)


@main.command()
@click.option("--config", metavar="FILE", type=click.Path(), help="Settings; default config.toml.")
def doctor(config: str | None) -> None:
    """Check what a run needs on this machine, and say what is missing."""
    from engine.cli.doctor import run_checks

    sys.exit(run_checks(config))


@main.group(cls=BenchGroup)
def bench() -> None:
    """Find the numbers of workers with which a pipeline is fastest."""
