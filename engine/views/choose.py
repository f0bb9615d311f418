"""The choice of a view: live on a terminal, plain lines anywhere else, or none."""

import sys
from typing import Protocol, TextIO

import anyio

from engine.telemetry.events import Event
from engine.views.levels import WHOLE_ITEMS, Levels
from engine.views.plain import PlainLines
from engine.views.progress import Snapshot


class View(Protocol):
    """A listener that also refreshes its display as time passes."""

    def __call__(self, event: Event) -> None: ...

    def note(self, line: str) -> None:
        """Show a line of news."""

    async def refresh_forever(self) -> None:
        """Show the state of the run, again and again, until cancelled."""


class Quiet:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    async def refresh_forever(self) -> None:
        await anyio.sleep_forever()


def choose_view(
    snapshot: Snapshot,
    *,
    quiet: bool = False,
    stream: TextIO | None = None,
    levels: Levels = WHOLE_ITEMS,
) -> View:
    """The view that suits: none if `quiet`, live on a terminal, plain lines anywhere else.

    `levels` are the pipeline's words for what it counts. `stream` is where the view prints, by
    default standard error.
    """
    if quiet:
        return Quiet()
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        from engine.views.live import LiveView

        console = Console(file=stream)
        if not console.is_dumb_terminal:
            return LiveView(snapshot, console, levels)
    return PlainLines(snapshot, stream, unit=levels.unit)
