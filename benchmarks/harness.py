"""What every benchmark shares: turns taken side by side, medians with an interval, one result file.

A machine that slows down for a minute slows whoever has the turn. So contestants take turns, round
after round, and what is quoted is the median over the rounds of their ratio within one round, never
the ratio of two medians. A `Result` prints itself, writes itself as JSON and draws itself
(`benchmarks/picture.py`); `benchmarks/page.py` puts it into docs/benchmarks.md.
"""

import json
import os
import platform
import resource
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.intervals import Interval, interval

Figures = Mapping[str, float]
"""What one turn came to, by the figure's name with its unit: {"wall s": 1.2, "CPU s": 2.1}."""

Contestant = Callable[[], Figures]

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
"""Where the results that the documentation quotes are kept."""

PACKAGES = ("av", "numpy", "torch", "ultralytics", "onnxruntime", "openvino", "faiss-cpu", "anyio")
PACKAGES += ("torchcodec", "spdl-core", "ray", "yt-dlp", "httpx")

SAVING = ("--save", "--save-as")
"""Options, each with a value, that say nothing of how a result came about."""


def ratios(own: Sequence[Figures], other: Sequence[Figures], figure: str) -> Interval:
    """Own over other, turn by turn. Raises ValueError where the numbers of turns differ."""
    pairs = list(zip(own, other, strict=True))
    return interval([mine[figure] / theirs[figure] for mine, theirs in pairs])


def timed(work: Callable[[], object]) -> Contestant:
    """A contestant that is measured by the clock and by the processor time that it uses, which
    includes that of the processes that it starts and waits for."""

    def turn() -> Figures:
        wall, processor = time.perf_counter(), _processor_seconds()
        work()
        return {
            "wall s": time.perf_counter() - wall,
            "CPU s": _processor_seconds() - processor,
        }

    return turn


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, warm_up: int = 1
) -> dict[str, list[Figures]]:
    """Each contestant once a round, in an order that changes from round to round.

    The first `warm_up` rounds do not count. Returns each one's figures, a round each.
    """
    names = list(contestants)
    taken: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            figures = contestants[name]()
            if number >= 0:
                taken[name].append(figures)
    return taken


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


def table(
    title: str,
    taken: Mapping[str, Sequence[Figures]],
    own: str,
    compared: Sequence[str] = ("wall s",),
) -> Table:
    """The medians of what `take_turns` returned. For each figure that is `compared`, also how often
    over the other's is `own`'s: under 1 where `own` needs less."""
    rows = []
    for name, turns in taken.items():
        figures = {key: interval([turn[key] for turn in turns]) for key in turns[0]}
        for key in compared:
            if name != own:
                label = f"{own}'s {key.rpartition(' ')[0] or key}, ratio"
                figures[label] = ratios(taken[own], turns, key)
        rows.append(Row(name, figures))
    return Table(title, rows)


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
class Result:
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

    def save(self, folder: Path) -> None:
        """Write NAME.json and NAME.png into `folder`, which is made if it is missing."""
        from benchmarks.picture import draw

        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        draw(self, folder / f"{self.name}.png")


def result_of_file(path: Path) -> Result:
    """The result that `Result.save` wrote to this JSON file."""
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
    return Result(**found | {"tables": tables, "targets": targets, "notes": tuple(found["notes"])})


def parser(description: str | None, *, rounds: int) -> ArgumentParser:
    """A command line with what every benchmark takes: --quick, --rounds, --save, --save-as."""
    made = ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="small and short; never to be quoted")
    made.add_argument("--rounds", type=int, help=f"turns that each contestant takes ({rounds})")
    made.add_argument(
        "--save", type=Path, metavar="DIR", help="write the result there, as JSON and as a picture"
    )
    made.add_argument(
        "--save-as", metavar="NAME", help="the result's name there; default the benchmark's"
    )
    made.set_defaults(default_rounds=rounds)
    return made


def parse(made: ArgumentParser) -> Namespace:
    """The command line; `rounds` is filled in."""
    arguments = made.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 2 if arguments.quick else arguments.default_rounds
    return arguments


def finish(result: Result, arguments: Namespace) -> None:
    """Print the result, and write it where --save says."""
    print(result.render(), end="")
    if arguments.save is not None:
        replace(result, name=arguments.save_as or result.name).save(arguments.save)


def machine() -> dict[str, Any]:
    """What this was measured on, with the versions of the packages that take part."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def peak_memory() -> float:
    """The most memory, in MB, that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def _command(words: Iterable[str]) -> str:
    """The command as a person gives it, without where it saves to."""
    program, *rest = words
    kept = []
    skip = False
    for word in rest:
        if skip or word in SAVING:
            skip = not skip
        elif not word.startswith(tuple(f"{option}=" for option in SAVING)):
            kept.append(word)
    return shlex.join(["python", "-m", f"benchmarks.{Path(program).stem}", *kept])
