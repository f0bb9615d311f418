"""What a run shows while it goes on: a live view, plain lines where there is no terminal, or none.

The views only listen: to the events, and to `snapshot`, the pools' statistics.
"""

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

import anyio

from engine.events import (
    AttemptEnded,
    DiskLow,
    DiskRecovered,
    Event,
    GateClosed,
    ItemEnded,
    ItemEntered,
    ListenerFailed,
    Repaired,
    RoomMade,
    RunStarted,
    SourceEnded,
    Stopping,
    WorkerReplaced,
)
from engine.statistics import LEAST_BUSY, Held, PoolStatistics, bottleneck, join_held
from engine.text import duration, one_line, pace, size

Snapshot = Callable[[], Sequence[PoolStatistics]]

RECENT = 60.0
"""Seconds that rates and the current bottleneck look back on."""

ENOUGH = 5
"""Items that have to have ended in the last minute before their rate says more than the run's."""


HELD_SHOWN = 3
"""Hosts that a view names of those that items are held back for."""


class View(Protocol):
    """A listener that also shows things as time passes."""

    def __call__(self, event: Event) -> None: ...

    async def refresh_forever(self) -> None:
        """Show how things stand, again and again, until cancelled."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the run stands at one moment."""

    elapsed: float
    entered: int
    ended: Mapping[str, int]
    """Items that no stage has anything left to do with, by outcome."""
    pools: Sequence[PoolStatistics]
    recent: Mapping[str, PoolStatistics]
    """The same pools over the last minute."""
    rates: Mapping[str, float]
    """Items that each stage ended with, per second, over the last minute."""
    rate: float
    """Items ended per second, not counting those that earlier runs had done."""
    left: float | None
    """Seconds until all have ended; None while the source still gives, or nothing is left, and
    where nobody knows: a gate is closed, or nothing has ended for longer than all was to take."""
    held: Sequence[Held] = ()
    """What items wait for outside the workers, other than their turn."""

    @property
    def total_ended(self) -> int:
        return sum(self.ended.values())

    @property
    def bottleneck(self) -> str | None:
        """The stage that holds the others back just now, if one does."""
        stage = bottleneck(self.recent)
        return stage if stage and self.recent[stage].utilisation >= LEAST_BUSY else None


class Progress:
    """Keeps count of the events, and looks at the pools when asked how things stand."""

    def __init__(self, snapshot: Snapshot, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipeline = ""
        self.source_ended = False
        self._snapshot = snapshot
        self._clock = clock
        self._started = clock()
        self._entered = 0
        self._ended: Counter[str] = Counter()
        self._worked = 0
        self._last_end = self._started
        self._looks: deque[tuple[float, int, dict[str, PoolStatistics]]] = deque()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.pipeline = event.pipeline
            case ItemEntered():
                self._entered += 1
            case ItemEnded():
                self._ended[event.outcome] += 1
                self._worked += not event.reused
                self._last_end = self._clock()
            case SourceEnded():
                self.source_ended = True

    def look(self) -> Standing:
        now = self._clock()
        pools = {pool.stage: pool for pool in self._snapshot()}
        self._looks.append((now, self._worked, pools))
        while len(self._looks) > 2 and self._looks[1][0] <= now - RECENT:
            self._looks.popleft()
        since, worked, before = self._looks[0]
        recent = {name: pool.since(before.get(name, pool)) for name, pool in pools.items()}
        passed = max(now - since, 1.0)
        rate = (self._worked - worked) / passed
        if self._worked - worked < ENOUGH:
            rate = self._worked / max(now - self._started, 1.0)
        remaining = self._entered - sum(self._ended.values())
        held = join_held(held for pool in pools.values() for held in pool.held)
        return Standing(
            elapsed=now - self._started,
            entered=self._entered,
            ended=dict(self._ended),
            pools=list(pools.values()),
            recent=recent,
            rates={name: pool.ended / passed for name, pool in recent.items()},
            rate=rate,
            left=self._left(remaining, rate, held, now) if self.source_ended else None,
            held=held,
        )

    def _left(self, remaining: int, rate: float, held: Sequence[Held], now: float) -> float | None:
        if remaining <= 0 or rate <= 0:
            return None
        if any(one.key is not None for one in held):
            return None
        if sum(one.items for one in held) >= remaining:
            return None
        left = remaining / rate
        return None if now - self._last_end > max(left, RECENT) else left


class PlainLines:
    """One line at the start, one every `interval` seconds, and one for whatever went wrong."""

    def __init__(self, snapshot: Snapshot, stream: TextIO, interval: float = 10.0) -> None:
        self._progress = Progress(snapshot)
        self._stream: TextIO | None = stream
        self._interval = interval

    def __call__(self, event: Event) -> None:
        self._progress(event)
        if isinstance(event, RunStarted):
            self._write(f"{event.pipeline}: run {event.run} in {event.workdir}")
        elif not isinstance(event, GateClosed) and (line := notable(event)):
            self._write(line)

    async def refresh_forever(self) -> None:
        self._progress.look()
        while True:
            await anyio.sleep(self._interval)
            standing = self._progress.look()
            self._write(totals_line(standing, self._progress.source_ended))
            for line in held_lines(standing):
                self._write(line)

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(one_line(line, 400) + "\n")
            self._stream.flush()
        except OSError:
            # Whoever read these lines has gone (a closed pipe). The run goes on without them.
            self._stream = None


class Quiet:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        pass

    async def refresh_forever(self) -> None:
        await anyio.sleep_forever()


def choose_view(snapshot: Snapshot, *, quiet: bool = False, stream: TextIO | None = None) -> View:
    """The view that suits: none if `quiet`, live on a terminal, plain lines anywhere else.

    `stream` is where it is shown, standard error unless told.
    """
    if quiet:
        return Quiet()
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        from engine.live_view import LiveView

        console = Console(file=stream)
        if not console.is_dumb_terminal:
            return LiveView(snapshot, console)
    return PlainLines(snapshot, stream)


def totals_line(standing: Standing, source_ended: bool) -> str:
    """How the run stands, in one line."""
    parts = [
        duration(standing.elapsed),
        f"{standing.total_ended} of {standing.entered}{'' if source_ended else ' so far'} ended",
        *(f"{standing.ended[how]} {how}" for how in ("dropped", "failed") if how in standing.ended),
    ]
    if standing.rate:
        parts.append(pace(standing.rate))
    if parked := sum(pool.parked for pool in standing.pools):
        parts.append(f"{parked} held back")
    if standing.bottleneck:
        busy = standing.recent[standing.bottleneck].utilisation
        parts.append(f"{standing.bottleneck} is the bottleneck ({busy:.0%} busy)")
    if standing.left is not None:
        parts.append(f"about {duration(standing.left)} left")
    return ", ".join(parts)


def held_lines(standing: Standing, most: int = HELD_SHOWN) -> list[str]:
    """A line for each of the gates, `most` at most, that items wait for, and one for retries."""
    now = time.time()
    lines = [f"{held.items} held back {held.told(now)}" for held in standing.held[:most]]
    if len(standing.held) > most:
        lines.append(f"{sum(held.items for held in standing.held[most:])} held back for others")
    return lines


def notable(event: Event, longest_id: int = 200) -> str | None:
    """A line on an event that a person wants to know of at once; None for all others."""
    match event:
        case AttemptEnded(outcome="failed", final=True):
            return f"failed in {event.stage}: {_what_and_why(event, longest_id)}"
        case GateClosed():
            return f"{event.key}: nothing for {duration(event.seconds)}: {event.reason}"
        case DiskLow():
            free, least = size(event.free), size(event.watermark)
            return f"disk: {free} free, less than {least}: nothing new until there is room"
        case DiskRecovered():
            return f"disk: {size(event.free)} free again: going on"
        case RoomMade():
            return f"the disk was full: {size(event.freed)} of half-done work deleted, to begin"
        case WorkerReplaced():
            return f"{event.stage}: worker {event.worker} replaced: {event.why}"
        case Repaired():
            return f"repaired {one_line(event.item, longest_id)} in {event.stage}: {event.what}"
        case ListenerFailed():
            return f"{event.listener} failed, and the run goes on: {event.reason}"
        case Stopping():
            return f"stopping: {event.why}"
    return None


def _what_and_why(event: AttemptEnded, longest_id: int) -> str:
    """The reason, behind the item's id unless it says itself what it speaks of."""
    reason = event.reason or ""
    if "://" in reason or reason.startswith("/"):
        return reason
    return f"{one_line(event.item, longest_id)}: {reason}"
