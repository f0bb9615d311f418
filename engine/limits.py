"""Shared gates: a rate, a concurrency and a breaker per host, free disk, the failure budget."""

import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path

import anyio
from aiolimiter import AsyncLimiter

from engine.errors import StopRun
from engine.events import DiskLow, DiskRecovered, Events, GateClosed

FIRST_PAUSE = 30.0
"""Seconds a gate closes for when the other side did not say how long; doubled each time."""

LONGEST_PAUSE = 3600.0
"""Seconds a gate closes for at most, whatever the other side says."""

DISK_CHECK_INTERVAL = 2.0
"""Seconds between looks at the disk while it is too full."""


class _Gate:
    """One key's gate. `trips` counts the closures since something last went well."""

    def __init__(self, rate: float) -> None:
        self.limiter = AsyncLimiter(1, 1 / rate) if rate else None
        self.inside = 0
        self.waiting = 0
        self.closed_until = 0.0
        self.trips = 0
        self.changed = anyio.Event()

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Gates:
    """What goes to one host goes through one gate, whatever stage and worker it comes from.

    A gate lets `rate` items a second through and holds `concurrency` at once (0: no limit). When
    someone is told to slow down it closes for everyone; then it lets one through alone, and opens
    fully once that one has not been turned away.
    """

    def __init__(self, rate: float, concurrency: int, events: Events) -> None:
        self._rate = rate
        self._concurrency = concurrency
        self._events = events
        self._gates: dict[str, _Gate] = {}

    async def enter_at_once(self, key: str) -> bool:
        """Go in if that needs no waiting. Whoever is in has to `leave`."""
        gate = self._gate(key)
        if gate.waiting or not self._is_open(gate):
            return False
        if gate.limiter is not None:
            if not gate.limiter.has_capacity():
                return False
            await gate.limiter.acquire()  # has capacity, so does not wait
        gate.inside += 1
        return True

    async def enter(self, key: str) -> None:
        """Wait until the gate lets this one in. Whoever is in has to `leave`."""
        gate = self._gate(key)
        gate.waiting += 1
        try:
            while True:
                await self._wait_until_open(gate)
                gate.inside += 1
                try:
                    if gate.limiter is not None:
                        await gate.limiter.acquire()
                except BaseException:
                    self._go_out(key, gate)
                    raise
                if self._now() >= gate.closed_until:
                    return
                self._go_out(key, gate)  # it closed while this one waited for its turn
        finally:
            gate.waiting -= 1

    async def _wait_until_open(self, gate: _Gate) -> None:
        while not self._is_open(gate):
            pause = gate.closed_until - self._now()
            if pause > 0:
                await anyio.sleep(pause)
            else:
                await gate.changed.wait()

    def leave(self, key: str, *, throttled: bool) -> None:
        """Come out again; `throttled` says whether the other side turned this one away."""
        gate = self._gate(key)
        if not throttled:
            gate.trips = 0
        self._go_out(key, gate)

    def _go_out(self, key: str, gate: _Gate) -> None:
        gate.inside -= 1
        gate.notify()
        idle = not gate.inside and not gate.waiting and not gate.trips and gate.limiter is None
        if idle and self._now() >= gate.closed_until:
            self._gates.pop(key, None)  # a crawl meets many hosts; nothing is lost with this one

    def close(self, key: str, after: float | None, reason: str) -> float:
        """Let nothing more through for `after` seconds; returns for how long.

        Without `after`, for FIRST_PAUSE, doubled for each closure since something went well. Those
        who were inside when it closed and are turned away too do not make it longer that way.
        """
        gate = self._gate(key)
        now = self._now()
        was_closed = now < gate.closed_until
        if not was_closed:
            gate.trips += 1
        pause = FIRST_PAUSE * 2.0 ** (gate.trips - 1) if after is None else after
        pause = min(pause, LONGEST_PAUSE)
        if now + pause > gate.closed_until:
            gate.closed_until = now + pause
            if not was_closed:
                self._events.emit(GateClosed(key=key, seconds=pause, reason=reason))
        gate.notify()
        return max(0.0, gate.closed_until - now)

    def _is_open(self, gate: _Gate) -> bool:
        if self._now() < gate.closed_until:
            return False
        if gate.trips and gate.inside:
            return False  # one alone tries whether the other side has calmed down
        return not self._concurrency or gate.inside < self._concurrency

    def _gate(self, key: str) -> _Gate:
        if key not in self._gates:
            self._gates[key] = _Gate(self._rate)
        return self._gates[key]

    @staticmethod
    def _now() -> float:
        return anyio.current_time()


class DiskGate:
    """Holds back what is new while less than `watermark` bytes are free where `folder` is."""

    def __init__(self, folder: Path, watermark: int, events: Events) -> None:
        self._folder = folder
        self._watermark = watermark
        self._events = events

    def free(self) -> int:
        """Bytes free now."""
        return shutil.disk_usage(self._folder).free

    async def wait_for_room(self, anything_in_flight: Callable[[], bool]) -> None:
        """Return when enough is free. Raises StopRun when it is not and nothing is at work that
        could free some."""
        free = self.free() if self._watermark else 0
        if free >= self._watermark:
            return
        self._events.emit(DiskLow(free=free, watermark=self._watermark))
        while (free := self.free()) < self._watermark:
            if not anything_in_flight():
                raise StopRun(
                    f"the disk of {self._folder} is nearly full: {free / 1e9:.1f} GB free, under "
                    f"limits.free_disk = {self._watermark / 1e9:.1f} GB; free some and run again"
                )
            await anyio.sleep(DISK_CHECK_INTERVAL)
        self._events.emit(DiskRecovered(free=free))


class FailureBudget:
    """Says when too many of the latest items have failed for the run to go on.

    It looks at the last `window` items that ended, and speaks once more than `share` of them and
    at least `minimum` have failed; so it also works on a short list.
    """

    def __init__(self, share: float, window: int, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self._latest: deque[bool] = deque(maxlen=window)

    def record(self, failed: bool) -> str | None:
        """Count one item that ended; returns why the run has to stop, or None."""
        self._latest.append(failed)
        failures = sum(self._latest)
        if failures < self._minimum or failures <= self._share * len(self._latest):
            return None
        return (
            f"{failures} of the last {len(self._latest)} items failed, over the failure budget "
            f"(limits.failure_budget = {self._share:g}); see the failures above, mend the cause, "
            "and run again"
        )
