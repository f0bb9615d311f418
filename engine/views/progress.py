"""The state of a run while it goes on, as the views show it.

Only reads: the events, and `snapshot`, the pools' statistics.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.telemetry.events import Event, ItemEnded, ItemEntered, RunStarted, SourceEnded
from engine.telemetry.statistics import LEAST_BUSY, Hold, PoolStatistics, bottleneck, join_holds

Snapshot = Callable[[], Sequence[PoolStatistics]]

RECENT = 60.0
"""Length in seconds of the window for rates and the current bottleneck."""

ENOUGH = 5
"""The least number of items that have to end in the last minute for its rate to be used instead of
the whole run's."""


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
    """Seconds until all items have ended. None while the source still gives items, when no item is
    left, and when no estimate is possible: a gate is closed, or nothing has ended for longer than
    the whole estimate."""
    holds: Sequence[Hold] = ()
    """Why items wait outside the workers, except those that only wait for their turn."""

    @property
    def total_ended(self) -> int:
        return sum(self.ended.values())

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
        held = join_holds(held for pool in pools.values() for held in pool.holds)
        return Standing(
            elapsed=now - self._started,
            entered=self._entered,
            ended=dict(self._ended),
            pools=list(pools.values()),
            recent=recent,
            rates={name: pool.ended / passed for name, pool in recent.items()},
            rate=rate,
            left=self._left(remaining, rate, held, now) if self.source_ended else None,
            holds=held,
        )

    def _left(self, remaining: int, rate: float, held: Sequence[Hold], now: float) -> float | None:
        if remaining <= 0 or rate <= 0:
            return None
        if any(one.key is not None for one in held):
            return None
        if sum(one.items for one in held) >= remaining:
            return None
        left = remaining / rate
        return None if now - self._last_end > max(left, RECENT) else left
