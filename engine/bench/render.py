"""The results of a sweep, for a terminal."""

import io
from collections.abc import Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from engine.bench.intervals import short
from engine.bench.prediction import CLOSE
from engine.bench.results import Results
from engine.bench.sweep import Rating
from engine.bench.trial import StageShares
from engine.telemetry.text import one_line, size

SHOWN = 24
"""The most configurations in a table, the best first; bench.csv has them all."""

UNITS = (("second", 1), ("minute", 60), ("hour", 3600))


def render(results: Results, *, width: int = 100, color: bool = False) -> str:
    """The tables, the recommendation and the block to paste; ends in a line break."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for title, found in (
        ("Measured", results.measured_ratings),
        ("Predicted by the model", results.predicted_ratings),
    ):
        if found:
            _tables(console, title, found, results)
    _checks(console, results)
    _recommendation(console, results)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def unit_of(found: Sequence[Rating]) -> tuple[str, int]:
    """The unit of time in which these throughputs are readable, and its length in seconds."""
    fastest = max(rating.throughput.median for rating in found)
    return next((unit for unit in UNITS if fastest * unit[1] >= 1), UNITS[-1])


def _tables(console: Console, title: str, found: Sequence[Rating], results: Results) -> None:
    unit, seconds = unit_of(found)
    rates = _table(f"{title}: items a {unit}, median and interval")
    for column in ("Workers", f"A {unit}", "Items", "Failed", "Busiest", "Memory", "Disk"):
        justify: JustifyMethod = "left" if column in ("Workers", "Busiest") else "right"
        rates.add_column(column, justify=justify, no_wrap=True)
    shares = _table("Where the workers' time went, in percent: busy/starved/blocked")
    for column in ("Workers", *results.stages):
        shares.add_column(column, justify="left" if column == "Workers" else "right", no_wrap=True)
    for rating in found[:SHOWN]:
        style = "bold green" if rating.configuration == results.recommended else ""
        name = Text(str(rating.configuration), style)
        if rating.problem is not None:
            rates.add_row(name, Text("failed", "red"), str(rating.items))
            continue
        typical = rating.typical
        rates.add_row(
            name,
            str(rating.throughput.times(seconds)),
            str(rating.items),
            Text(str(rating.failed), "red" if rating.failed else ""),
            typical.bottleneck or "none",
            "" if rating.peak_memory is None else size(rating.peak_memory),
            "" if rating.peak_disk is None else size(rating.peak_disk),
        )
        shares.add_row(name, *(_shares((typical.stages or {}).get(one)) for one in results.stages))
    console.print(rates)
    console.print()
    if shares.row_count:
        console.print(shares)
    if len(found) > SHOWN:
        console.print(f"{len(found) - SHOWN} more are in bench.csv.")
    for rating in found:
        if rating.problem is not None:
            text = f"{rating.configuration} failed: {one_line(rating.problem)}"
            console.print(Text(text, "red"), soft_wrap=True)
    console.print()


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )


def _shares(found: StageShares | None) -> str:
    if found is None:
        return ""
    return "/".join(f"{100 * share:.0f}" for share in (found.busy, found.starved, found.blocked))


def _checks(console: Console, results: Results) -> None:
    if not results.checks:
        return
    unit, seconds = unit_of(results.measured_ratings)
    table = _table(f"The model against the machine: items a {unit}")
    table.add_column("Workers", no_wrap=True)
    for column in ("Predicted", "Measured", "Error"):
        table.add_column(column, justify="right", no_wrap=True)
    for check in results.checks:
        table.add_row(
            str(check.configuration),
            short(check.predicted * seconds),
            str(check.measured.times(seconds)),
            Text(f"{check.error:+.1%}", "" if abs(check.error) <= CLOSE else "red"),
        )
    console.print(table)
    console.print()


def _recommendation(console: Console, results: Results) -> None:
    found = results.recommendation
    if results.interrupted:
        console.print("Interrupted: this is what was measured until then.", soft_wrap=True)
    if found is None:
        console.print("Nothing was measured to the end, so nothing is recommended.")
        return
    source = "" if results.measured else "By the model alone, "
    console.print(f"{source}{found.why}", soft_wrap=True)
    if found.chosen.typical.sentence is not None:
        console.print(found.chosen.typical.sentence, soft_wrap=True)
    for hint in edges(results):
        console.print(hint, soft_wrap=True)
    console.print()
    console.print(found.chosen.configuration.toml, end="")


def edges(results: Results) -> list[str]:
    """Suggestions of what to try next: a bottleneck that has the most
    workers of all that were tried."""
    found = results.recommendation
    if found is None:
        return []
    workers, stage = found.chosen.configuration.workers, found.chosen.typical.bottleneck
    if stage is None or stage not in results.tries or workers[stage] < max(results.tries[stage]):
        return []
    if workers[stage] == results.most.get(stage):
        return []
    return [f"{workers[stage]} is the most that was tried for {stage}: try more."]
