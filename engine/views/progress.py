"""The state of a run while it goes on, as the views show it.

Only reads: the events, and `snapshot`, the pools' statistics.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.telemetry.events import (
    Event,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
    PartEnded,
    RunStarted,
    SourceEnded,
)
from engine.telemetry.statistics import LEAST_BUSY, Hold, PoolStatistics, bottleneck, join_holds
from engine.views.parts_ahead import PartsAhead

Snapshot = Callable[[], Sequence[PoolStatistics]]

RECENT = 60.0
"""Length in seconds of the window for rates and the current bottleneck."""

ENOUGH = 5
"""The least number of items, or parts, that have to end in the last minute for its rate to be used
instead of the whole run's."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of the run at one moment."""

    elapsed: float
    entered: int
    ended: Mapping[str, int]
    """Number of items that have ended, by outcome."""
    pools: Sequence[PoolStatistics]
    recent: Mapping[str, PoolStatistics]
    """The same pools over the last minute."""
    rates: Mapping[str, float]
    """Items that ended in each stage per second, over the last minute."""
    rate: float
    """Items ended per second, without those that earlier runs had done."""
    left: float | None
    """Seconds until all items have ended: by the parts that are still to come, where there are
    some. None while the source still gives items, when no item is left, and when no estimate is
    possible: a gate is closed, or nothing has ended for longer than the whole estimate."""
    holds: Sequence[Hold] = ()
    """Why items wait outside the workers, except those that only wait for their turn."""
    parts_ended: int | None = None
    """Number of parts that have ended, without those that were abandoned; None where there are
    none."""
    parts_abandoned: int = 0
    parts_in_all: int | None = None
    """Number of parts that will have ended with all items that have entered; None where nothing
    tells it."""
    parts_guessed: bool = False
    """Whether `parts_in_all` is a guess."""

    @property
    def total_ended(self) -> int:
        return sum(self.ended.values())

    @property
    def share_ended(self) -> float:
        """The share of what has entered that has ended, 0 to 1: of items, and of their parts as far
        as it is told how many there will be."""
        ended, entered = self.total_ended, self.entered
        if self.parts_in_all is not None and self.parts_ended is not None:
            ended, entered = ended + self.parts_ended, entered + self.parts_in_all
        return min(1.0, ended / entered) if entered else 0.0

    @property
    def bottleneck(self) -> str | None:
        """The stage that is the bottleneck now, None if there is none."""
        stage = bottleneck(self.recent)
        return stage if stage and self.recent[stage].utilisation >= LEAST_BUSY else None


class Progress:
    """Counts the events, and reads the pools' statistics when asked for the state."""

    def __init__(self, snapshot: Snapshot, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipeline = ""
        self.source_ended = False
        self._snapshot = snapshot
        self._clock = clock
        self._started = clock()
        self._entered = 0
        self._ended: Counter[str] = Counter()
        self._worked = 0
        self._parts = PartsAhead()
        self._last_end = self._started
        self._looks: deque[tuple[float, int, int, dict[str, PoolStatistics]]] = deque()

    def __call__(self, event: Event) -> None:
        self._parts(event)
        match event:
            case RunStarted():
                self.pipeline = event.pipeline
            case ItemEntered():
                self._entered += 1
            case ItemGivenUp():
                self._entered -= 1
            case ItemEnded():
                self._ended[event.outcome] += 1
                self._worked += not event.reused
                self._last_end = self._clock()
            case PartEnded():
                self._last_end = self._clock()
            case SourceEnded():
                self.source_ended = True

    def look(self) -> Standing:
        now = self._clock()
        pools = {pool.stage: pool for pool in self._snapshot()}
        self._looks.append((now, self._worked, self._parts.worked, pools))
        while len(self._looks) > 2 and self._looks[1][0] <= now - RECENT:
            self._looks.popleft()
        since, worked, parts_worked, before = self._looks[0]
        recent = {name: pool.since(before.get(name, pool)) for name, pool in pools.items()}
        passed = max(now - since, 1.0)
        rate = self._rate(self._worked - worked, self._worked, passed, now)
        of_parts = self._rate(self._parts.worked - parts_worked, self._parts.worked, passed, now)
        held = join_holds(held for pool in pools.values() for held in pool.holds)
        in_all, is_guess = self._parts_in_all()
        return Standing(
            elapsed=now - self._started,
            entered=self._entered,
            ended=dict(self._ended),
            pools=list(pools.values()),
            recent=recent,
            rates={name: pool.ended / passed for name, pool in recent.items()},
            rate=rate,
            left=self._left(rate, of_parts, held, now) if self.source_ended else None,
            holds=held,
            parts_ended=self._parts_ended if self._parts.entered else None,
            parts_abandoned=self._parts.abandoned,
            parts_in_all=in_all,
            parts_guessed=is_guess,
        )

    @property
    def _parts_ended(self) -> int:
        return self._parts.ended - self._parts.abandoned

    @property
    def _under_way(self) -> int:
        """The number of items that have entered and not ended."""
        return self._entered - sum(self._ended.values())

    def _parts_in_all(self) -> tuple[int | None, bool]:
        is_guess = not self._parts.is_known(self._under_way)
        if is_guess and not self._parts.has_usual:
            return None, True
        ahead, _ = self._parts.ahead(self._under_way)
        return self._parts_ended + round(ahead), is_guess

    def _rate(self, recently: int, ever: int, passed: float, now: float) -> float:
        """How many end per second, lately, or if these are too few to tell, since the start."""
        if recently >= ENOUGH:
            return recently / passed
        return ever / max(now - self._started, 1.0)

    def _left(self, rate: float, of_parts: float, held: Sequence[Hold], now: float) -> float | None:
        items = self._under_way
        parts, waiting_for_none = self._parts.ahead(items)
        if parts:
            items = waiting_for_none
        if items + parts <= 0 or any(one.key is not None for one in held):
            return None
        if sum(one.items for one in held) >= items + parts:
            return None
        if (items and not rate) or (parts and not of_parts):
            return None
        left = max(items / rate if items else 0.0, parts / of_parts if parts else 0.0)
        return None if now - self._last_end > max(left, RECENT) else left
