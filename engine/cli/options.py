"""The options that several commands share, and the values made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.config import CONFIG
from engine.contract.errors import UsageError

if TYPE_CHECKING:  # the help of the commands does not load pipelines
    from engine.contract.pipeline import Pipeline


def refuse_empty(args: Sequence[str]) -> None:
    """Raises click.UsageError for an argument, or an option's value, that is empty. It would stand
    for the folder that one is in, or for nothing, without a word; mostly it is a variable of the
    shell that is not set."""
    for before, given in zip(("", *args), args, strict=False):
        option, equals, value = given.partition("=")
        if not given.strip():
            option, value = before if before.startswith("-") else "", ""
        elif not (option.startswith("--") and equals):
            continue
        if not value.strip():
            what = f"the value of {option}" if option else f"what follows {before or 'penstock'!r}"
            raise click.UsageError(f"{what} is empty; give one, or leave it out")


def source_options(pipeline: "Pipeline") -> list[click.Parameter]:
    """The options that name a pipeline's sources."""
    return [
        click.Argument(["sources"], nargs=-1, metavar=f"[{pipeline.takes.upper()}]..."),
        click.Option(
            ["--from", "from_"], metavar="FILE", help="Read more from FILE, one a line; - is stdin."
        ),
    ]


def items_names(*units: str) -> list[str]:
    """The names of an option that takes a number of items: "--items", and also "--pages" where a
    pipeline calls its items pages."""
    named = (f"--{unit.replace(' ', '-')}s" for unit in units)
    return [*dict.fromkeys(["--items", *named]), "items"]


def nothing_to_do(pipeline: "Pipeline") -> UsageError:
    """The error for a pipeline that is given no source."""
    return UsageError(f"nothing to {pipeline.name}: give {pipeline.takes}s, or --from FILE")


def settings_options(pipeline: "Pipeline") -> list[click.Parameter]:
    """The options that set the pipeline's settings, including its own flags."""
    return [
        click.Option(
            ["--config"], metavar="FILE", help=f"Settings; default {CONFIG} where there is one."
        ),
        set_option(),
        *(
            click.Option([flag.name], metavar=flag.takes, help=flag.help)
            if flag.takes
            else click.Option([flag.name], is_flag=True, help=flag.help)
            for flag in pipeline.flags
        ),
    ]


def set_option() -> click.Option:
    return click.Option(
        ["--set", "overrides"],
        multiple=True,
        metavar="KEY=VALUE",
        help="A setting, such as stages.NAME.workers=4; may be given again and again.",
    )


def quiet_option() -> click.Option:
    return click.Option(["--quiet"], is_flag=True, help="Show no progress.")


def view_options() -> list[click.Parameter]:
    """The options for watching a run, for every command that runs a pipeline in a work folder."""
    return [
        quiet_option(),
        click.Option(["--log-json"], metavar="FILE", help="Append every event to FILE."),
        *web_options("Serve a live page on this port while it runs; 0: any that is free."),
    ]


def web_options(told: str) -> list[click.Parameter]:
    """The options that say where a page is served."""
    return [
        click.Option(["--web"], metavar="PORT", type=click.IntRange(0, 65535), help=told),
        click.Option(
            ["--web-host"],
            metavar="ADDRESS",
            help="The address to serve it on; without it only this machine can reach the page.",
        ),
    ]


def config_file(given: str | None) -> Path | None:
    """The settings file: the given one, else config.toml in the current folder, else none."""
    if given is not None:
        return Path(given)
    return Path(CONFIG) if Path(CONFIG).is_file() else None


def flag_settings(pipeline: "Pipeline", given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the pipeline's flags set; `given` are all options, by parameter name."""
    chosen: dict[str, Any] = {}
    for flag in pipeline.flags:
        value = given[flag.name.removeprefix("--").replace("-", "_")]
        if flag.takes and value is not None:
            chosen |= dict.fromkeys(flag.sets, value)
        elif value:
            chosen |= flag.sets
    return chosen


@dataclass(frozen=True, slots=True)
class WebAddress:
    """The address of the live page; `host` is None for this machine only."""

    port: int
    host: str | None


def web_address(port: int | None, host: str | None) -> WebAddress | None:
    """The address from --web and --web-host. Raises UsageError for a host without a port."""
    if port is None and host is not None:
        raise UsageError("--web-host says where to serve the page; give --web PORT with it")
    return None if port is None else WebAddress(port, host)
