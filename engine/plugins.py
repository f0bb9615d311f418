"""Pipelines and commands that packages bring, found by their entry points.

[project.entry-points."penstock.pipelines"]
crawl = "stages.pipelines:crawl"            an engine.Pipeline
[project.entry-points."penstock.commands"]
export = "stages.export:export"             a click command
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import click

from engine.errors import PenstockError, PipelineError, UsageError
from engine.pipeline import Pipeline

PIPELINES = "penstock.pipelines"
COMMANDS = "penstock.commands"


def names(group: str) -> list[str]:
    """The names that packages have registered in this group, sorted. Loads nothing."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def pipeline(name: str) -> Pipeline:
    """The pipeline of this name. Raises UsageError where there is none."""
    found = _load(PIPELINES, name)
    if not isinstance(found, Pipeline):
        raise PipelineError(f"entry point {name!r} in {PIPELINES!r} is no engine.Pipeline")
    return found


def pipelines() -> Mapping[str, Pipeline]:
    """All pipelines, by name."""
    return {name: pipeline(name) for name in names(PIPELINES)}


def command(name: str) -> click.Command:
    """The command of this name that a package brings."""
    found = _load(COMMANDS, name)
    if not isinstance(found, click.Command):
        raise PipelineError(f"entry point {name!r} in {COMMANDS!r} is no click command")
    return found


def _load(group: str, name: str) -> Any:
    entries = metadata.entry_points(group=group, name=name)
    if not entries:
        known = ", ".join(names(group)) or "none"
        raise UsageError(f"no {group.removeprefix('penstock.')} named {name!r}; there are: {known}")
    entry = next(iter(entries))
    try:
        return entry.load()
    except PenstockError:
        raise
    except Exception as error:  # another package's code: whatever it raises, ours goes on
        raise PipelineError(
            f"{name!r} in {group!r} ({entry.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
