"""The options that the commands share that do jobs: which profiles, where, with which settings."""

import os
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from engine import Event, RunStarted, UsageError
from stages.service.profiles import ServedProfiles, load_profiles

CONFIG = Path("config.toml")

C = TypeVar("C", bound=Callable[..., Any])


def job_options(folder: str, holds: str) -> Callable[[C], C]:
    """The options `names`, `workdir`, by default `folder`, `roots` and `jobs`. `holds` says what
    the work folder is."""
    return _all(
        click.option(
            "--profile",
            "names",
            metavar="NAME",
            multiple=True,
            required=True,
            help="What is done with a video: [profiles.NAME] of the settings, or a pipeline; may "
            "be given again, and the first is that of jobs that name none.",
        ),
        click.option(
            "--out",
            "workdir",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path(folder),
            show_default=True,
            help=holds,
        ),
        click.option(
            "--root",
            "roots",
            metavar="DIR",
            multiple=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="A folder below which jobs may name files; may be given again.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1, 1000),
            default=4,
            show_default=True,
            help="Jobs at once.",
        ),
    )


def settings_options() -> Callable[[C], C]:
    """The options `config`, `overrides`, `quiet` and `log_json`."""
    return _all(
        click.option(
            "--config", metavar="FILE", help="Settings; default config.toml where there is one."
        ),
        click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="A setting."),
        click.option("--quiet", is_flag=True, help="Show no progress."),
        click.option("--log-json", metavar="FILE", help="Append every event to FILE."),
    )


def served_profiles(
    names: Sequence[str], roots: Sequence[Path], config: str | None, overrides: Sequence[str]
) -> ServedProfiles:
    """The profiles that these options name. Raises UsageError where one of them is wrong."""
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"--root {root}: there is no such folder")
    file = Path(config) if config is not None else CONFIG if CONFIG.is_file() else None
    return load_profiles(names, file, os.environ, overrides, found=config is None)


def at_start(line: str) -> Callable[[Event], None]:
    """A listener that prints the line once the run holds its work folder."""

    def tell(event: Event) -> None:
        if isinstance(event, RunStarted):
            click.echo(line, err=True)

    return tell


def _all(*options: Callable[[Any], Any]) -> Callable[[C], C]:
    """Decorates with all of these, so that `--help` shows them in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)
