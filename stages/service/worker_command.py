"""`penstock worker`: one resident run whose items are the jobs of a queue."""

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click

from engine import UsageError, execute
from stages.service.durations import Duration
from stages.service.profiles import load_profiles

CONFIG = Path("config.toml")


@click.command
@click.option("--queue", "url", metavar="URL", required=True, help="Redis: redis://HOST:6379.")
@click.option("--name", metavar="NAME", required=True, help="The queue's name in BullMQ.")
@click.option(
    "--profile",
    "names",
    metavar="NAME",
    multiple=True,
    required=True,
    help="What is done with a video: [profiles.NAME] of the settings, or a pipeline; may be given "
    "again, and the first is that of jobs that name none.",
)
@click.option(
    "--out",
    "workdir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("penstock-worker"),
    show_default=True,
    help="The work folder, on a disk of this machine.",
)
@click.option(
    "--root",
    "roots",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder below which jobs may name files; may be given again.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 1000), default=4, show_default=True, help="Jobs at once."
)
@click.option(
    "--lock",
    type=Duration(1.0),
    default="30s",
    show_default=True,
    metavar="TIME",
    help="After this another worker may take over from one that is gone.",
)
@click.option(
    "--drain",
    type=Duration(),
    default="20s",
    show_default=True,
    metavar="TIME",
    help="At its end it gives back what takes longer than this.",
)
@click.option("--config", metavar="FILE", help="Settings; default config.toml where there is one.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="A setting.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--log-json", metavar="FILE", help="Append every event to FILE.")
def worker(
    url: str,
    name: str,
    names: tuple[str, ...],
    workdir: Path,
    roots: tuple[Path, ...],
    jobs: int,
    lock: float,
    drain: float,
    config: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    log_json: str | None,
) -> None:
    """Take jobs from a BullMQ queue until Ctrl-C or SIGTERM, several at once.

    A job's data name a video: {"url": "https://…"}, or {"videoPath": "/videos/a.mp4"} below a
    --root; and, where there are several, its "profile", and "options", such as
    {"transcribe.language": "de"}, where the profile allows them. The job is completed with {"item",
    "outcome", "gaps"}; what was made of the video is in DIR, and where the pipeline's sinks are.
    Models are loaded once, and calls of all jobs keep to one rate.
    """
    if find_spec("bullmq") is None:
        raise UsageError("a queue takes the package bullmq: pip install 'penstock[jobs]'")
    if ":" in name or not name:
        raise UsageError(
            f"--name {name!r}: the name of a BullMQ queue is not empty and has no colon"
        )
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"--root {root}: there is no such folder")
    from stages.service.bull import BullSource

    file = Path(config) if config is not None else CONFIG if CONFIG.is_file() else None
    profiles = load_profiles(names, file, os.environ, overrides, found=config is None)
    read = partial(profiles.read, roots=roots)
    source = BullSource(url, name, workdir, read, at_once=jobs, lock=lock, drain=drain)
    with source.connected():
        code = execute(
            *(profiles.pipeline, profiles.config, workdir, source),
            *(quiet, log_json, None),
            listeners=[source],
            resident=True,
        )
    sys.exit(code)
