"""The view without a terminal: plain lines."""

from typing import TextIO

import anyio

from engine.telemetry.events import Event, GateClosed, RunStarted
from engine.telemetry.text import one_line
from engine.views.lines import held_lines, notable, totals_line
from engine.views.progress import Progress, Snapshot


class PlainLines:
    """One line at the start, one every `interval` seconds, and one for each
    thing that goes wrong. A run that waits for its source says so once: a service may do so for
    days.
    """

    def __init__(
        self, snapshot: Snapshot, stream: TextIO, interval: float = 10.0, unit: str = "item"
    ) -> None:
        self._progress = Progress(snapshot)
        self._stream: TextIO | None = stream
        self._interval = interval
        self._unit = unit

    def __call__(self, event: Event) -> None:
        self._progress(event)
        if isinstance(event, RunStarted):
            self._write(f"{event.pipeline}: run {event.run} in {event.workdir}")
        elif not isinstance(event, GateClosed) and (line := notable(event)):
            self._write(line)

    def note(self, line: str) -> None:
        """Write a line of news."""
        self._write(line)

    async def refresh_forever(self) -> None:
        self._progress.look()
        told: tuple[int, int] | None = None
        while True:
            await anyio.sleep(self._interval)
            standing = self._progress.look()
            waits = standing.entered == standing.total_ended and not self._progress.source_ended
            now = (standing.entered, standing.total_ended) if waits else None
            if now is not None and now == told:
                continue
            told = now
            line = totals_line(standing, self._progress.source_ended, self._unit)
            self._write(f"{line}, waits for more" if waits else line)
            for line in held_lines(standing):
                self._write(line)

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(one_line(line, 400) + "\n")
            self._stream.flush()
        except OSError:
            # The reader of these lines is gone (a closed pipe). The run goes on without it.
            self._stream = None
