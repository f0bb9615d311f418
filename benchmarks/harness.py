"""What every benchmark shares: turns taken side by side, medians with an interval, the options.

A machine that slows down for a minute slows whoever has the turn. So contestants take turns, round
after round, and what is quoted is the median over the rounds of their ratio within one round, never
the ratio of two medians. What comes of it is a `Measurement` (`benchmarks/results.py`), printed and
saved: as JSON, as a picture (`benchmarks/picture.py`) and as a page (`benchmarks/page.py`).
"""

import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.page import page_of
from benchmarks.picture import draw
from benchmarks.results import Measurement, Row, Table
from engine.bench.intervals import Interval, interval

Figures = Mapping[str, float]
"""What one turn came to, by the figure's name with its unit: {"wall s": 1.2, "CPU s": 2.1}."""

Contestant = Callable[[], Figures]


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


def parser(description: str | None, *, rounds: int) -> ArgumentParser:
    """A command line with what every benchmark takes: --quick, --rounds, --save, --save-as."""
    made = ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="small and short; never to be quoted")
    made.add_argument("--rounds", type=int, help=f"turns that each contestant takes ({rounds})")
    made.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write the result there: as JSON, as a page, as a picture",
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


def finish(result: Measurement, arguments: Namespace) -> None:
    """Print the result, and write it where --save says."""
    print(result.render(), end="")
    if arguments.save is not None:
        save(replace(result, name=arguments.save_as or result.name), arguments.save)


def save(result: Measurement, folder: Path) -> None:
    """Write NAME.json, NAME.png and NAME.md into `folder`, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.as_dict(), indent=1, ensure_ascii=False)
    (folder / f"{result.name}.json").write_text(text + "\n", encoding="utf-8")
    (folder / f"{result.name}.md").write_text(page_of(result), encoding="utf-8")
    draw(result, folder / f"{result.name}.png")


def _processor_seconds() -> float:
    return sum(os.times()[:4])
