"""`penstock serve`: one resident run whose items are jobs that are posted."""

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from engine import UsageError
from stages.service.options import at_start, job_options, served_profiles, settings_options

OPTIONS = ("--port", "--host")

STEADY = ("limits.failure_budget=1",)
"""Settings of a service: it goes on whatever its jobs come to."""


@click.command
@job_options(
    "penstock-serve", "The work folder, on a disk of this machine: it holds the accepted jobs, too."
)
@click.option("--host", metavar="HOST", help="The address to be reached at; default 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free."
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Who may ask: a TOML file of tokens.",
)
@click.option(
    "--queue",
    "most_jobs",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="Jobs that may be under way, waiting ones among them; further ones are turned away.",
)
@click.option(
    "--upload-limit",
    type=click.IntRange(1),
    default=10240,
    show_default=True,
    help="Megabytes of the largest upload.",
)
@click.option(
    "--remember",
    type=click.FloatRange(0.01),
    default=90.0,
    show_default=True,
    help="Days after its end in which a job, and its idempotency key, are known.",
)
@settings_options()
def serve(
    names: tuple[str, ...],
    workdir: Path,
    host: str | None,
    port: int,
    token_file: Path | None,
    roots: tuple[Path, ...],
    jobs: int,
    most_jobs: int,
    upload_limit: int,
    remember: float,
    config: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    log_json: str | None,
) -> None:
    """Take jobs over HTTP until Ctrl-C or SIGTERM, several at once.

    POST /jobs with {"url": "https://…"}, {"videoPath": "/videos/a.mp4"} below a --root, or the id
    of an upload; or open the address, and drop a video on the page. A job that was accepted stands
    in the work folder: neither a crash nor a restart loses it. Models are loaded once, and calls of
    all jobs keep to one rate.
    """
    if find_spec("fastapi") is None:
        raise UsageError("a service takes the package fastapi: pip install 'penstock[serve]'")
    from engine import Port, execute
    from stages.serve.desk.tokens import Tokens
    from stages.serve.service import ServiceOptions, served

    tokens = Tokens.read(token_file) if token_file is not None else Tokens(())
    options = ServiceOptions(tokens, roots, jobs, most_jobs, upload_limit << 20, remember * 86400)
    profiles = served_profiles(names, roots, config, [*STEADY, *overrides])
    bound = Port(port, host, OPTIONS)
    try:
        if bound.is_public and not tokens:
            raise UsageError(
                f"--host {host}: other machines can reach that, and anybody there could post jobs; "
                "give a --token-file"
            )
        with served(profiles, workdir, bound, options) as source:
            code = execute(
                *(profiles.pipeline, profiles.config, workdir, source),
                *(quiet, log_json),
                listeners=[source, at_start(f"serving {', '.join(names)}: {bound.url}")],
                resident=True,
            )
    finally:
        bound.close()
    sys.exit(code)
