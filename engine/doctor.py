"""`penstock doctor`: what a run needs on this machine, checked before it is missed."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from platform import python_version

import click

from engine import plugins
from engine.config import Config, load_config
from engine.options import config_file
from engine.pipeline import Check
from engine.text import size

MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}

FEW_DESCRIPTORS = 1024
"""Open files that a process may have and that a run with many workers comes close to."""


def run_checks(config: str | None) -> int:
    """Print every check of the engine and of each pipeline; returns 1 if any is a problem, else 0.

    Raises ConfigError where the settings are wrong.
    """
    everything = list(plugins.pipelines().values())
    checks: list[Check] = []
    for pipeline in everything:
        loaded = load_config(
            pipeline,
            config_file(config),
            os.environ,
            (),
            {},
            others=everything,
            found=config is None,
        )
        if not checks:
            checks += _machine(loaded)
        if pipeline.checks is not None:
            settings = {name: stage.settings for name, stage in loaded.stages.items()}
            checks += pipeline.checks(settings)
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"{MARKS[check.verdict]:>8}  {check.name:<{width}}  {check.text}")
    return int(any(check.verdict == "problem" for check in checks))


def _machine(config: Config) -> Iterator[Check]:
    yield Check("python", "ok", f"{python_version()}, {os.cpu_count()} cores")
    yield _disk(int(config.limits.free_disk))
    yield _descriptors()


def _disk(watermark: int) -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{size(free)} free here; new items wait under limits.free_disk = {size(watermark)}"
    return Check("free disk", "ok" if free >= watermark else "problem", text)


def _descriptors() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < FEW_DESCRIPTORS
    advice = "; raise it with `ulimit -n 4096` for many workers" if few else ""
    return Check("open files", "warning" if few else "ok", f"at most {soft}{advice}")
