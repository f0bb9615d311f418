"""The report at the end of a run, and the report of `penstock status` on a work folder."""

import io
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.telemetry.statistics import (
    FailureKind,
    Hold,
    PoolStatistics,
    StageCounts,
    bottleneck_sentence,
)
from engine.telemetry.text import counted, duration, one_line, plural
from engine.views.levels import PART, WHOLE_ITEMS, Levels

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100
"""Columns of a report whose terminal width is unknown."""

FAILURES_SHOWN = 8
"""Kinds of failure that a report spells out, the most frequent first."""


NO_PARTS = StageCounts("parts", entered=0, done=0, dropped=0, failed=0, pending=0)


@dataclass(frozen=True, slots=True)
class Summary:
    """The data of the end-of-run report.

    `total` counts the items of the whole work folder, `parts` their parts, `gaps` those that are
    done without some, and `stages` counts by stage, over all runs; `pools` and `ended`, the items
    that ended, are of this run only. `outcome` is one line on how the run ended; `notes` are lines
    for the end of the report.
    """

    pipeline: str
    workdir: Path
    outcome: str
    seconds: float
    ended: int
    total: StageCounts
    stages: Sequence[StageCounts]
    pools: Mapping[str, PoolStatistics]
    processor: float | None
    failures: Sequence[FailureKind]
    notes: Sequence[str] = ()
    holds: Sequence[Hold] = ()
    levels: Levels = WHOLE_ITEMS
    parts: StageCounts = NO_PARTS
    gaps: int = 0
    resident: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a work folder. `outcome` is how the last run ended; None while a run is going on
    and after a run that was killed: `running` tells these two apart."""

    pipeline: str
    workdir: Path
    runs: int
    running: bool
    outcome: str | None
    total: StageCounts
    stages: Sequence[StageCounts]
    failures: Sequence[FailureKind]
    holds: Sequence[Hold] = ()
    levels: Levels = WHOLE_ITEMS
    parts: StageCounts = NO_PARTS
    gaps: int = 0


def render_summary(summary: Summary, *, width: int = WIDTH, color: bool = False) -> str:
    """The end-of-run report, as text that ends in a line break."""
    return _blocks(
        f"{summary.pipeline}: {one_line(summary.outcome, 1000)}\n",
        _table(summary, summary.pools, width, color),
        _failures(summary, width),
        _about_parts(summary),
        _lines(held_sentences(summary.holds, running=False, now=time.time())),
        _lines([_bottleneck(summary), _pace(summary)]),
        _lines(summary.notes),
    )


def _bottleneck(summary: Summary) -> str:
    return bottleneck_sentence(summary.pools, summary.processor, resident=summary.resident)


def render_status(status: Status, *, width: int = WIDTH, color: bool = False) -> str:
    """`penstock status` for people, as text that ends in a line break."""
    return _blocks(
        f"{status.pipeline} in {status.workdir}: {_state(status)}\n",
        _table(status, {}, width, color),
        _failures(status, width),
        _about_parts(status),
        _lines(held_sentences(status.holds, running=status.running, now=time.time())),
    )


def status_as_dict(status: Status) -> dict[str, Any]:
    """`penstock status` for machines: JSON-able, with all kinds of failure."""
    return {
        "pipeline": status.pipeline,
        "workdir": str(status.workdir),
        "runs": status.runs,
        "running": status.running,
        "outcome": status.outcome,
        "items": _counts(status.total),
        **(_parts_as_dict(status) if status.levels.at_parts else {}),
        "stages": {counts.stage: _counts(counts) for counts in status.stages},
        "failures": [
            asdict(failure) | {"retry": retry_command(status.workdir, failure)}
            for failure in status.failures
        ],
        "held": [
            {
                "by": held.key,
                "reason": held.reason,
                "seconds": round(held.seconds, 1) if status.running else None,
                "items": held.items,
            }
            for held in status.holds
        ],
    }


def retry_command(workdir: Path, failure: FailureKind) -> str:
    """The command that tries the items, or parts, of this kind of failure again."""
    chosen = ["--class", failure.kind, "--stage", failure.stage]
    return shlex.join(["penstock", "retry", str(workdir), *chosen, *["--gaps"] * failure.is_gap])


def gaps_sentence(gaps: int, workdir: Path, unit: str) -> str | None:
    """A sentence on the whole items that are done without some of their parts, with what to do;
    None if there are none."""
    if not gaps:
        return None
    them, lack = (unit, "is") if gaps == 1 else (plural(unit), "are")
    again = shlex.join(["penstock", "retry", str(workdir), "--gaps"])
    return f"{gaps:,} {them} {lack} done without parts that failed; try those again: {again}"


def abandoned_sentence(parts: StageCounts, unit: str) -> str | None:
    """A sentence on the parts that go no further, with what would change that; None if there are
    none."""
    if not parts.abandoned:
        return None
    if parts.abandoned == 1:
        why, them = f"is abandoned: its {unit} failed or was dropped", "it"
    else:
        why, them = f"are abandoned: their {plural(unit)} failed or were dropped", "them"
    return f"{counted(parts.abandoned, PART)} {why}; only a retry takes {them} up again"


def held_sentences(held: Sequence[Hold], *, running: bool, now: float) -> list[str]:
    """Sentences on what holds pending items now, or held them when the last run ended."""
    sentences = []
    for one in held:
        items = "1 item" if one.items == 1 else f"{one.items} items"
        if running:
            sentences.append(f"{items} held {one.told(now)}")
        else:
            whom = f"for {one.key}" if one.key is not None else "for another attempt"
            why = one_line(one.reason)
            sentences.append(f"{items} held {whom} when the run ended: {why}")
    return sentences


def _parts_as_dict(status: Status) -> dict[str, Any]:
    counts = _counts(status.parts) | {"abandoned": status.parts.abandoned}
    return {"parts": counts, "gaps": status.gaps}


def _counts(counts: StageCounts) -> dict[str, int]:
    rare = ("skipped", "abandoned")
    told = {key: value for key, value in asdict(counts).items() if key != "stage"}
    return {key: value for key, value in told.items() if value or key not in rare}


def _state(status: Status) -> str:
    runs = "1 run" if status.runs == 1 else f"{status.runs} runs"
    if status.running:
        return f"{runs}, the last one going on"
    if status.runs == 0:
        return "not run yet"
    if status.outcome is None:
        return f"{runs}, the last one was killed; run it again to go on"
    return f"{runs}, the last one: {one_line(status.outcome)}"


def _pace(summary: Summary) -> str:
    """The number of items of this run, and its speed."""
    items = counted(summary.ended, summary.levels.unit)
    text = f"{items} ended in {duration(summary.seconds)}"
    if summary.ended and summary.seconds > 0:
        text += f", {60 * summary.ended / summary.seconds:.1f} a minute"
    return f"{text}."


def _table(
    told: Summary | Status, pools: Mapping[str, PoolStatistics], width: int, color: bool
) -> str:
    """The counts, and the utilisation of each stage's workers where it was measured."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    levels = told.levels
    skips, abandons = any(row.skipped for row in told.stages), bool(told.parts.abandoned)
    room = max(8, width - 52 - 9 * skips - 11 * abandons)
    table.add_column("Stage", no_wrap=True, overflow="ellipsis", max_width=room)
    columns = ["Entered", "Done", "Dropped", "Failed", "Pending"]
    columns[2:2] = ["Skipped"] * skips
    columns += ["Abandoned"] * abandons
    for column in [*columns, *(["Busy"] * bool(pools))]:
        table.add_column(column, justify="right", no_wrap=True)
    rows = [(levels.named(row.stage, room), row) for row in told.stages]
    rows += [(plural(levels.unit), told.total)]
    rows += [(plural(PART), told.parts)] if levels.at_parts else []
    for name, row in rows:
        pool = pools.get(row.stage)
        table.add_row(
            Text(name),
            str(row.entered),
            str(row.done),
            *([str(row.skipped)] if skips else []),
            str(row.dropped),
            Text(str(row.failed), style="red" if row.failed else ""),
            str(row.pending),
            *([str(row.abandoned)] if abandons else []),
            *([f"{pool.utilisation:.0%}"] if pool is not None else []),
        )
    return _as_text(table, width, color)


def _as_text(table: "Table", width: int, color: bool) -> str:
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, force_terminal=color, color_system="standard" if color else None
    )
    console.print(table)
    return _lines(line.rstrip() for line in buffer.getvalue().splitlines())


def _failures(told: Summary | Status, width: int) -> str:
    """Each kind of failure with an example and the command that retries it."""
    lines, failures, workdir = [], told.failures, told.workdir
    for failure in failures[:FAILURES_SHOWN]:
        items = counted(failure.count, PART if failure.of_parts else told.levels.unit)
        lines.append(f"{items} failed in {failure.stage}: {failure.kind}")
        if failure.example_item not in failure.example_reason:
            lines.append(f"  {one_line(failure.example_item, width - 2)}")
        lines.append(f"  {one_line(failure.example_reason, 4 * width)}")
        lines.append(f"  try again: {retry_command(workdir, failure)}")
    if len(failures) > FAILURES_SHOWN:
        more = len(failures) - FAILURES_SHOWN
        lines.append(f"{more} more classes of failure: penstock status {_word(workdir)} --json")
    return _lines(lines)


def _about_parts(told: Summary | Status) -> str:
    unit = told.levels.unit
    sentences = (
        gaps_sentence(told.gaps, told.workdir, unit),
        abandoned_sentence(told.parts, unit),
    )
    return _lines(filter(None, sentences))


def _word(path: Path) -> str:
    return shlex.quote(str(path))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _blocks(*blocks: str) -> str:
    """The non-empty blocks, with an empty line between two."""
    return "\n".join(block for block in blocks if block)
