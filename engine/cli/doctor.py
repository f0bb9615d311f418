"""`penstock doctor`: checks the needs of a run on this machine before a run fails for them."""

import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from platform import python_version

import click

from engine.cli.options import config_file
from engine.config.load import Config, load_config
from engine.contract import registry
from engine.contract.errors import PipelineError
from engine.contract.pipeline import Check, Pipeline
from engine.telemetry.cores import available_cores
from engine.telemetry.text import one_line, size

MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}

FEW_DESCRIPTORS = 1024
"""A limit on open files that a run with many workers comes close to."""


def run_checks(config: str | None) -> int:
    """Print every check of the engine and of each pipeline; returns 1 if any is a problem, else 0.

    An unusable entry point of a package is a warning: the others work without it. Raises
    ConfigError where the settings are wrong.
    """
    found = registry.find_pipelines()
    brought = [*found.broken, *registry.find_commands().broken]
    checks = [Check(one.name, "warning", str(one)) for one in brought]
    everything, seen = list(found.usable.values()), False
    for pipeline in everything:
        try:
            loaded = _load(pipeline, config, everything)
        except PipelineError as error:
            checks.append(Check(pipeline.name, "warning", str(error)))
            continue
        if not seen:
            checks += _machine(loaded)
            seen = True
        checks += _checks_of(pipeline, loaded)
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        click.echo(f"{MARKS[check.verdict]:>8}  {check.name:<{width}}  {check.text}")
    return int(any(check.verdict == "problem" for check in checks))


def _load(pipeline: Pipeline, config: str | None, everything: Sequence[Pipeline]) -> Config:
    return load_config(
        pipeline,
        config_file(config),
        os.environ,
        (),
        {},
        others=everything,
        found=config is None,
    )


def _checks_of(pipeline: Pipeline, config: Config) -> Iterator[Check]:
    """The pipeline's own checks; an error of theirs becomes a warning."""
    if pipeline.checks is None:
        return
    settings = {name: stage.settings for name, stage in config.stages.items()}
    try:
        yield from pipeline.checks(settings)
    except Exception as error:  # another package's code may raise anything
        why = one_line(f"{type(error).__name__}: {error}")
        yield Check(pipeline.name, "warning", f"its checks broke off: {why}")


def _machine(config: Config) -> Iterator[Check]:
    yield Check("python", "ok", f"{python_version()}, {available_cores()} cores")
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
