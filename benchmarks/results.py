"""What a benchmark found: contestants in tables, targets with their limits, the machine."""

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from engine.bench.intervals import Interval

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
"""Where the results that the documentation quotes are kept."""

SAVING = ("--save", "--save-as", "--work")
"""Options, each with a value, that say nothing of how a result came about."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: who, and its figures."""

    name: str
    figures: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Table:
    """Contestants side by side."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Target:
    """What was aimed at: `value` at most (or at least) `limit`; and what came of it."""

    what: str
    value: Interval
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the median keeps to the limit."""
        if self.at_least:
            return self.value.median >= self.limit
        return self.value.median <= self.limit


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a benchmark found. `name` is the file's, `title` what the documentation calls it."""

    name: str
    title: str
    tables: Sequence[Table]
    targets: Sequence[Target]
    rounds: int
    quick: bool = False
    notes: Sequence[str] = ()
    command: str = field(default_factory=lambda: _command(sys.argv))
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        found = asdict(self)
        for target, written in zip(self.targets, found["targets"], strict=True):
            written["met"] = target.met
        return found

    def render(self) -> str:
        """For a terminal."""
        often = f"medians of {self.rounds} rounds, with 95% intervals"
        lines = [f"{self.title}: {'one round' if self.rounds == 1 else often}"]
        if self.quick:
            lines[0] += " (quick: not to be quoted)"
        for one in self.tables:
            lines += ["", one.title]
            for row in one.rows:
                lines.append(f"  {row.name}")
                lines += [f"    {key:<40} {value}" for key, value in row.figures.items()]
        for target in self.targets:
            relation = "at least" if target.at_least else "at most"
            verdict = "met" if target.met else "MISSED"
            lines += ["", f"{target.what}: {target.value}, {relation} {target.limit:g}: {verdict}"]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])]) + "\n"


def result_of_file(path: Path) -> Measurement:
    """The result that `harness.save` wrote to this JSON file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for target in found["targets"]:
        del target["met"]
        target["value"] = Interval(**target["value"])
    tables = [
        Table(
            one["title"],
            [
                Row(row["name"], {key: Interval(**value) for key, value in row["figures"].items()})
                for row in one["rows"]
            ],
        )
        for one in found["tables"]
    ]
    targets = [Target(**target) for target in found["targets"]]
    return Measurement(
        **found | {"tables": tables, "targets": targets, "notes": tuple(found["notes"])}
    )


def _command(words: Iterable[str]) -> str:
    """The command as a person gives it, without where it saves to, and where a checkout lies."""
    program, *rest = words
    kept: list[str] = []
    skip = False
    for word in rest:
        if kept and kept[-1] == "--baseline":
            word = "CHECKOUT"
        if skip or word in SAVING:
            skip = not skip
        elif not word.startswith(tuple(f"{option}=" for option in SAVING)):
            kept.append(word)
    return shlex.join(["python", "-m", f"benchmarks.{Path(program).stem}", *kept])
