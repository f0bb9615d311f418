"""The live view: a table of stages that redraws itself on the terminal."""

import sys
import time
from collections import deque

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.telemetry.events import Event, RunStarted
from engine.telemetry.statistics import PoolStatistics
from engine.telemetry.text import duration, one_line, pace
from engine.views.levels import WHOLE_ITEMS, Levels
from engine.views.lines import ended_of, held_lines, notable
from engine.views.progress import Progress, Snapshot, Standing

REFRESH = 0.25
"""Seconds between two drawings."""

NOTES = 4
"""Notable events shown, the latest ones."""

COLUMNS = ("Queue", "Workers", "In hand", "Held", "Done", "Dropped", "Failed", "Busy", "Rate")
NARROW_COLUMNS = ("Queue", "Done", "Failed", "Busy", "Rate")
FULL_WIDTH = 76
"""Terminal columns below which only NARROW_COLUMNS fit."""

LONGEST_ID = 28
"""Characters of an item's id in a notable event, so that its reason has room."""


class LiveView:
    """Draws every stage's queue, workers, counts and rate, the bottleneck, and the latest news."""

    def __init__(
        self,
        snapshot: Snapshot,
        console: Console | None = None,
        levels: Levels = WHOLE_ITEMS,
    ) -> None:
        self.console = console or Console(stderr=True)
        self._levels = levels
        self._progress = Progress(snapshot)
        self._run = ""
        self._notes: deque[str] = deque(maxlen=NOTES)

    def __call__(self, event: Event) -> None:
        self._progress(event)
        if isinstance(event, RunStarted):
            self._run = event.pipeline
        elif note := notable(event, LONGEST_ID):
            self.note(note)

    def note(self, line: str) -> None:
        """Show a line of news, below the table."""
        self._notes.append(f"{time.strftime('%H:%M:%S')} {one_line(line)}")

    async def refresh_forever(self) -> None:
        """Draw until cancelled; the last drawing stays on the terminal."""
        try:
            with Live(
                console=self.console,
                auto_refresh=False,
                get_renderable=self.render,
                redirect_stdout=sys.stdout.isatty(),
            ) as live:
                while True:
                    live.refresh()
                    await anyio.sleep(REFRESH)
        except OSError:
            # The terminal is gone. The run goes on without it.
            await anyio.sleep_forever()

    def render(self) -> RenderableType:
        """The table as it stands now."""
        standing = self._progress.look()
        notes = [Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in self._notes]
        held = [
            Text(one_line(line, 400), style="yellow", no_wrap=True, overflow="ellipsis")
            for line in held_lines(standing)
        ]
        return Group(
            self._overall(standing),
            Text(_counts(standing, self._progress.source_ended, self._levels.unit)),
            _stages(standing, self._levels, self.console.width),
            *held,
            *notes,
        )

    def _overall(self, standing: Standing) -> Table:
        """The run, a bar that fills once the total is known, and the time left."""
        known = self._progress.source_ended
        bar = ProgressBar(
            total=1.0 if known else None,
            completed=standing.share_ended,
            width=self.console.width // 4,
            pulse=not known,
            animation_time=standing.elapsed,
        )
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(
            Text(f"{self._run}, {duration(standing.elapsed)}", style="bold"),
            bar,
            Text("" if standing.left is None else f"about {duration(standing.left)} left"),
        )
        return line


def _counts(standing: Standing, known: bool, unit: str) -> str:
    counts = [ended_of(standing, known, unit)]
    counts += [f"{number} {how}" for how, number in standing.ended.items() if how != "done"]
    if standing.rate:
        counts.append(pace(standing.rate))
    return ", ".join(counts)


def _stages(standing: Standing, levels: Levels, width: int) -> Table:
    columns = COLUMNS if width >= FULL_WIDTH else NARROW_COLUMNS
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    room = max(8, width // 4 - 2)
    table.add_column("Stage", no_wrap=True, overflow="ellipsis", max_width=room)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for pool in standing.pools:
        at_fault = pool.stage == standing.bottleneck
        figures = _figures(pool, standing)
        table.add_row(
            Text(f"{'>' if at_fault else ' '} {levels.named(pool.stage, room - 2)}"),
            *(Text(figures[column], "red" if column == "Failed" else "") for column in columns),
            style="bold yellow" if at_fault else "",
        )
    if standing.bottleneck:
        table.caption = Text("> the bottleneck of the last minute", style="dim")
        table.caption_justify = "left"
    return table


def _figures(pool: PoolStatistics, standing: Standing) -> dict[str, str]:
    """The text of each column; empty where a zero would tell nothing."""
    rate = standing.rates[pool.stage]
    return {
        "Queue": f"{pool.waiting}/{pool.queue}",
        "Workers": str(pool.workers),
        "In hand": str(pool.in_hand),
        "Held": str(pool.held or ""),
        "Done": str(pool.done),
        "Dropped": str(pool.dropped or ""),
        "Failed": str(pool.failed or ""),
        "Busy": f"{standing.recent[pool.stage].utilisation:.0%}",
        "Rate": pace(rate) if rate else "",
    }
