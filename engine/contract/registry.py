"""Pipelines and commands of other packages, found by their entry points.

    [project.entry-points."penstock.pipelines"]
    letters = "letters.pipeline:letters"        an engine.Pipeline
    [project.entry-points."penstock.commands"]
    envelopes = "letters.export:envelopes"      a click command

An unusable entry point disturbs nothing else: only a request for its name is an error.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Generic, TypeVar

import click

from engine.contract.errors import PenstockError, PipelineError, UsageError
from engine.contract.pipeline import Pipeline

PIPELINES = "penstock.pipelines"
COMMANDS = "penstock.commands"

WORDS = {PIPELINES: "pipeline", COMMANDS: "command"}
"""The word for an entry point of each group, in messages."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry point that cannot be used: its group and name, its package, and the reason."""

    group: str
    name: str
    package: str
    why: str

    def __str__(self) -> str:
        return f"{self.package}: the {WORDS[self.group]} {self.name!r} cannot be used: {self.why}"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The entry points of a group: `usable` by name, and the broken ones."""

    usable: Mapping[str, T]
    broken: tuple[Broken, ...]


def names(group: str) -> list[str]:
    """The names that packages have registered in this group, sorted. Loads nothing."""
    return sorted({entry.name for entry in _entries(group)})


def place(group: str, name: str) -> str:
    """Where the first entry point of this name is, as "module:attribute". Loads nothing. Raises
    StopIteration where there is none."""
    return next(entry.value for entry in _entries(group) if entry.name == name)


def pipeline(name: str) -> Pipeline:
    """The pipeline of this name. Raises UsageError where there is none, PipelineError where it
    cannot be used."""
    return _asked_for(PIPELINES, name, Pipeline)


def pipelines() -> Mapping[str, Pipeline]:
    """All usable pipelines, by name. Logs one line for each of the others,
    as a warning, once in a process."""
    found = find_pipelines()
    for broken in found.broken:
        _warn_of(broken)
    return found.usable


def find_pipelines() -> Found[Pipeline]:
    """All pipelines: the usable ones by name, and the broken ones."""
    return _find(PIPELINES, Pipeline)


def find_commands() -> Found[click.Command]:
    """All commands of other packages: the usable ones by name, and the broken ones."""
    return _find(COMMANDS, click.Command)


def command(name: str) -> click.Command:
    """The command of this name from another package. Raises as `pipeline` does."""
    return _asked_for(COMMANDS, name, click.Command)


def _entries(group: str) -> metadata.EntryPoints:
    return _entries_on(tuple(sys.path), group)


@cache
def _entries_on(path: tuple[str, ...], group: str) -> metadata.EntryPoints:
    """To look through all installed packages takes a while, and `--help` asks for each command."""
    return metadata.entry_points(group=group)


def _asked_for(group: str, name: str, kind: type[T]) -> T:
    found = _load(group, name, kind)
    if name in found.usable:
        return found.usable[name]
    if found.broken:
        raise PipelineError(str(found.broken[0]))
    known = ", ".join(names(group)) or "none"
    raise UsageError(f"no {WORDS[group]} is named {name!r}; there are: {known}")


def _find(group: str, kind: type[T]) -> Found[T]:
    usable: dict[str, T] = {}
    broken: list[Broken] = []
    for name in names(group):
        one = _load(group, name, kind)
        usable |= one.usable
        broken += one.broken
    return Found(usable, tuple(broken))


def _load(group: str, name: str, kind: type[T]) -> Found[T]:
    """The first usable entry point of this name, and the broken ones before it."""
    broken: list[Broken] = []
    for entry in filter(lambda entry: entry.name == name, _entries(group)):
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:  # another package's code may raise anything
            why = f"{entry.value}: {_told(error)}"
        else:
            if isinstance(loaded, kind):
                return Found({name: loaded}, tuple(broken))
            why = f"{entry.value} is no {kind.__module__.partition('.')[0]}.{kind.__name__}"
        broken.append(Broken(group, name, _package(entry), why))
    return Found({}, tuple(broken))


def _told(error: BaseException) -> str:
    """The error in one line. A PenstockError's message is enough; others name their type."""
    text = " ".join(str(error).split())
    if isinstance(error, PenstockError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _package(entry: metadata.EntryPoint) -> str:
    """The distribution of an entry point; its metadata may be as broken as the entry point."""
    with suppress(Exception):
        if entry.dist is not None and entry.dist.name:
            return f"package {entry.dist.name} {entry.dist.version}"
    return "a package without a name"


@cache
def _warn_of(broken: Broken) -> None:
    log.warning("%s", broken)
