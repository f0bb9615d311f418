"""`penstock worker`: one resident run whose items are the jobs of a queue."""

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click

from engine import UsageError, execute, shown
from stages.service.durations import Duration
from stages.service.options import at_start, job_options, served_profiles, settings_options
from stages.service.queue_server import queue_address


@click.command
@click.option(
    "--queue",
    "given",
    metavar="URL",
    help="Redis: redis://HOST:6379; default the environment's REDIS_URL. A password comes from "
    "REDIS_PASSWORD.",
)
@click.option("--name", metavar="NAME", required=True, help="The queue's name in BullMQ.")
@job_options("penstock-worker", "The work folder, on a disk of this machine.")
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
@settings_options()
def worker(
    given: str | None,
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
    from stages.service.bull import BullSource

    url = queue_address(given, os.environ)
    profiles = served_profiles(names, roots, config, overrides)
    read = partial(profiles.read, roots=roots)
    source = BullSource(
        *(url, name, workdir, read),
        pipeline=profiles.pipeline,
        at_once=jobs,
        lock=lock,
        drain=drain,
    )
    with source.connected():
        told = f"taking jobs of the queue {name} at {shown(url)}: {', '.join(profiles.served)}"
        code = execute(
            *(profiles.pipeline, profiles.config, workdir, source),
            *(quiet, log_json, None),
            listeners=[source, at_start(told)],
            resident=True,
        )
    sys.exit(code)
