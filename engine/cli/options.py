"""The options that several commands have, and what is made of what they are given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.config.sources import CONFIG
from engine.contract.errors import UsageError

if TYPE_CHECKING:  # the help of all commands does without what makes a pipeline
    from engine.contract.pipeline import Pipeline


def source_options(pipeline: "Pipeline") -> list[click.Parameter]:
    """What a pipeline is to take in."""
    return [
        click.Argument(["sources"], nargs=-1, metavar=f"[{pipeline.takes.upper()}]..."),
        click.Option(
            ["--from", "from_"], metavar="FILE", help="Read more from FILE, one a line; - is stdin."
        ),
    ]


def items_names(*units: str) -> list[str]:
    """The names of an option that takes a number of items: "--items", and "--pages" where an item
    of some pipeline is called a page."""
    named = (f"--{unit.replace(' ', '-')}s" for unit in units)
    return [*dict.fromkeys(["--items", *named]), "items"]


def nothing_to_do(pipeline: "Pipeline") -> UsageError:
    """What is said where a pipeline is given no source."""
    return UsageError(f"nothing to {pipeline.name}: give {pipeline.takes}s, or --from FILE")


def settings_options(pipeline: "Pipeline") -> list[click.Parameter]:
    """What sets the pipeline's settings; the flags are its own."""
    return [
        click.Option(
            ["--config"], metavar="FILE", help=f"Settings; default {CONFIG} where there is one."
        ),
        set_option(),
        *(click.Option([flag.name], is_flag=True, help=flag.help) for flag in pipeline.flags),
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
    """How a run is looked at; every command that runs a pipeline in a work folder has them."""
    return [
        quiet_option(),
        click.Option(["--log-json"], metavar="FILE", help="Append every event to FILE."),
        click.Option(
            ["--web"],
            metavar="PORT",
            type=click.IntRange(0, 65535),
            help="Serve a live page on this port while it runs; 0: any that is free.",
        ),
        click.Option(
            ["--web-host"],
            metavar="ADDRESS",
            help="The address to serve it on; without it only this machine can reach the page.",
        ),
    ]


def config_file(given: str | None) -> Path | None:
    """The settings file: the one that was given, else config.toml here, else none."""
    if given is not None:
        return Path(given)
    return Path(CONFIG) if Path(CONFIG).is_file() else None


def flag_settings(pipeline: "Pipeline", given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the pipeline's flags set; `given` are all options, by parameter name."""
    chosen: dict[str, Any] = {}
    for flag in pipeline.flags:
        if given[flag.name.removeprefix("--").replace("-", "_")]:
            chosen |= flag.sets
    return chosen


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where the live page is served; `host` is None for this machine alone."""

    port: int
    host: str | None


def web_address(port: int | None, host: str | None) -> WebAddress | None:
    """What --web and --web-host say. Raises UsageError for a host without a port."""
    if port is None and host is not None:
        raise UsageError("--web-host says where to serve the page; give --web PORT with it")
    return None if port is None else WebAddress(port, host)
