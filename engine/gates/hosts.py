"""The gates of a run: a rate, a concurrency and a breaker for each key, usually a host."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from engine.gates.capacity import Capacities
from engine.gates.permits import Permits
from engine.gates.shared import SharedGate, SharedLimits
from engine.telemetry.events import Events, GateClosed

FIRST_PAUSE = 30.0
"""Seconds that a gate closes for if the other side names no time; doubled each time."""

LONGEST_PAUSE = 3600.0
"""The most seconds that a gate closes for, whatever the other side says."""

DOUBTED_PAUSE = 60.0
"""The most seconds that a gate closes for if perhaps only one item is turned away."""

FEW = 3
"""The most items in a row that may be turned away for reasons of their own, if that is likely."""

SWEEP = 1000
"""The number of gates from which gates without state to keep are deleted."""

JITTER = 1.0
"""Seconds by which two machines may disagree about when a gate opens, without a word about it."""

LEAST_PAUSE = 0.01
"""The least seconds that a gate closes for, doubled each time up to FIRST_PAUSE: so a useless wait
of 0 grows."""


def pause_after(after: float | None, times: int) -> float:
    """The wait in seconds after the `times`-th refusal in a row, when the other side said `after`,
    or nothing (None).

    `after` comes from a header, by way of any stage: a value that is no finite number counts as
    None.
    """
    doubled = 2.0 ** min(times - 1, 30)
    if after is None or not _is_finite(after):
        return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)
    return min(max(after, min(LEAST_PAUSE * doubled, FIRST_PAUSE)), LONGEST_PAUSE)


def _is_finite(after: object) -> bool:
    try:
        return isinstance(after, (int, float)) and math.isfinite(after)
    except OverflowError:  # a whole number with more digits than a float holds
        return False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item has been turned away at the gate `key`, `times` times until now, and is to wait for
    `seconds`. The first refusal was at the time `since`, after `entries` entries.

    `alone`: apparently only the item is turned away and not every item: others went well.
    """

    key: str
    seconds: float
    times: int
    since: float
    entries: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Closure:
    """A gate is closed because of `reason`, for `seconds` more; 0 while one item tries it."""

    seconds: float
    reason: str


class GateState:
    """The rules of one gate, without any waiting. Times are seconds of the caller's clock.

    It lets one item through every `spacing` seconds and holds `concurrency` at once (0: no limit).
    A closed gate lets no item through for a while, and then one alone, until an item has come out
    without a refusal. `trips` counts the closures since then. The gate has been slowed since the
    first of them, and for `slowed` seconds before.

    `entries` counts the entries, and is the number of the last one; `well` is the highest number of
    an entry that went well. `refused` has, for every item that was turned away, the number of
    entries at that time, until a later entry goes well.
    """

    def __init__(self, spacing: float = 0.0, concurrency: int = 0) -> None:
        self.spacing = spacing
        self.concurrency = concurrency
        self.entries = 0
        self.well = 0
        self.refused: dict[str, int] = {}
        self.reason = ""
        self.inside = 0
        self.closed_until = 0.0
        self.next_start = 0.0
        self.trips = 0
        self.slowed = 0.0
        self.slowed_since = 0.0

    def opens_at(self) -> float:
        """The time before which no item goes in."""
        return max(self.closed_until, self.next_start)

    def is_open(self, now: float) -> bool:
        if now < self.closed_until or now < self.next_start:
            return False
        if self.trips and self.inside:
            return False  # half open: one item alone probes the other side
        return not self.concurrency or self.inside < self.concurrency

    def enter(self, now: float) -> bool:
        """Go in if the gate is open. An item that is in has to `leave`."""
        if not self.is_open(now):
            return False
        self.inside += 1
        self.entries += 1
        self.next_start = now + self.spacing
        return True

    def leave(
        self,
        now: float,
        *,
        throttled: bool = False,
        well: int = 0,
        item: str = "",
        is_last: bool = True,
    ) -> None:
        """As `Gates.leave`."""
        if not throttled:
            self.refused.pop(item, None)
        if well > self.well:
            self.well = well
            self.refused = {item: seen for item, seen in self.refused.items() if seen >= well}
        if not throttled and now >= self.closed_until:  # else it went in before the gate closed
            self.slowed, self.trips = self.slowed_by(now), 0
        self.inside -= is_last

    def slowed_by(self, now: float) -> float:
        """The total seconds for which it has been slowed."""
        return self.slowed + (now - self.slowed_since if self.trips else 0.0)

    def close(self, now: float, after: float | None, reason: str) -> float | None:
        """Let no item through for `after` seconds, as `Gates.close` says. Returns the seconds if
        the gate was open, None if it was closed already."""
        was_closed = now < self.closed_until
        if not was_closed:
            if not self.trips:
                self.slowed_since = now
            self.trips += 1
        self.reason = reason
        pause = pause_after(after, self.trips)
        self.closed_until = max(self.closed_until, now + pause)
        return None if was_closed else pause


class _Gate(GateState):
    """One key's gate, with the tasks that wait for it, and the permits that it has of the gate of
    all machines, if there is one."""

    def __init__(self, spacing: float, concurrency: int, shared: SharedGate | None) -> None:
        super().__init__(spacing, concurrency)
        self.waiting = 0
        self.changed = anyio.Event()
        self.permits = None if shared is None else Permits(shared, SharedLimits(spacing))

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Gates:
    """The gates of a run: all items for one key pass one gate, whatever their stage and worker.

    A gate lets through as many items as `capacities` allow for its key. When an item is told to
    slow down the gate closes for all; then it lets one through alone, and opens fully once that one
    has not been turned away. Rates and closures are those of all machines where the run shares its
    gates; the numbers inside are each machine's own.
    """

    def __init__(
        self,
        capacities: Capacities,
        events: Events,
        share: Callable[[str], SharedGate | None] = lambda key: None,
    ) -> None:
        """`share` finds the gate of all machines of a name, None where there is none."""
        self._capacities = capacities
        self._events = events
        self._share = share
        self._closures: deque[tuple[SharedGate, float]] = deque()
        self._news = anyio.Event()
        self._gates: dict[str, _Gate] = {}
        self._sweep_at = SWEEP

    def __len__(self) -> int:
        """Number of gates with state to keep."""
        return len(self._gates)

    def enter(self, key: str) -> bool:
        """Go in if the gate is open, which `wait` waits for. An item that is in has to `leave`.

        Go in only to work: an item that waits for something else inside holds all others back.
        """
        gate, now = self._gate(key), self._now()
        if gate.permits is not None and not (gate.is_open(now) and gate.permits.use(now)):
            return False
        return gate.enter(now)

    def entries(self, key: str) -> int:
        """The number of entries: right after `enter` it is the number of that entry."""
        return self._gate(key).entries

    async def wait(self, key: str) -> None:
        """Return when the gate is open; the first to `enter` then goes in."""
        gate = self._gate(key)
        gate.waiting += 1
        try:
            await self._opened(gate)
            while gate.permits is not None and (shut := await gate.permits.obtain()):
                if shut > JITTER:
                    self.close(key, shut, "another machine was told to slow down")
                else:
                    await anyio.sleep(shut)
                await self._opened(gate)
        finally:
            gate.waiting -= 1

    async def _opened(self, gate: _Gate) -> None:
        while not gate.is_open(self._now()):
            pause = gate.opens_at() - self._now()
            if pause > 0:
                await anyio.sleep(pause)
            else:
                await gate.changed.wait()

    async def tell(self) -> None:
        """Close the gates of all machines as those here are closed, for ever."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._closures:
                gate, seconds = self._closures.popleft()
                await gate.close(seconds)

    def slowed(self, key: str) -> float:
        """The total seconds for which the other side has slowed the gate: each time from its
        refusal until an item went well. It counts from an arbitrary time, so only differences have
        a meaning."""
        return self._gate(key).slowed_by(self._now())

    def admits_company(self, key: str) -> bool:
        """Whether further items may go in together with one that is inside. Not while the gate is
        slowed: then one item tries alone."""
        return self.closure(key) is None

    def leave(
        self, key: str, *, throttled: bool, well: int = 0, item: str = "", is_last: bool = True
    ) -> None:
        """Come out again; `throttled` says whether the other side turned the item away. `well` is
        the number of its entry if it went well, else 0. `is_last`: none of the items that went in
        together with it is still inside."""
        gate = self._gate(key)
        gate.leave(self._now(), throttled=throttled, well=well, item=item, is_last=is_last)
        gate.notify()

    def refuse(
        self,
        key: str,
        after: float | None,
        reason: str,
        item: str,
        before: Refusal | None = None,
        *,
        doubtful: bool = False,
        together: int = 1,
    ) -> Refusal:
        """The other side turned away `item`, which is inside; `before` is the result of its
        previous refusal. `doubtful`: the reason may well be the item's own. `together`: the number
        of items that went in as one, this one included.

        The gate closes, unless an entry after the item's first refusal has gone well and the item
        is turned away again. If the refusal is not doubtful and others are inside it proves little:
        the other side may just refuse too many at once.

        If others went well before, and no other item has been turned away since (FEW others if it
        is doubtful), the gate closes for DOUBTED_PAUSE at most, to see whether the next item fares
        better.
        """
        gate, now = self._gate(key), self._now()
        if before is None or before.key != key:
            before = Refusal(key, 0.0, 0, now, gate.entries, alone=False)
        gate.refused[item] = gate.entries
        # A refusal is the host's until the item has been refused twice and an item that entered
        # after the first refusal went well. Only then may the gate stay open for the others.
        alone = before.times > 0 and (doubtful or gate.inside + together <= 2)
        pause = min(pause_after(after, 1), DOUBTED_PAUSE)
        if alone and gate.well > before.entries:
            pass
        elif gate.well and len(gate.refused) <= (FEW if doubtful else 1):
            pause = self.close(key, pause, reason)
        else:
            pause, alone = self.close(key, after, reason), False
            if gate.permits is not None:  # a refusal that may be the item's own is not passed on
                self._closures.append((gate.permits.shared, pause))
                self._news.set()
        return replace(before, seconds=pause, times=before.times + 1, alone=alone)

    def closure(self, key: str) -> Closure | None:
        """The reason and the remaining seconds of the closure; None where no item has been turned
        away since one went well."""
        gate = self._gates.get(key)
        if gate is None or not gate.trips:
            return None
        return Closure(max(0.0, gate.closed_until - self._now()), gate.reason)

    def close(self, key: str, after: float | None, reason: str) -> float:
        """Let no more items through for `after` seconds; returns the seconds.

        Without `after`, for FIRST_PAUSE, doubled for each closure since an item went well. Items
        that were inside when the gate closed and are turned away too do not lengthen the pause.
        """
        gate, now = self._gate(key), self._now()
        pause = gate.close(now, after, reason)
        if pause is not None:
            self._events.emit(GateClosed(key=key, seconds=pause, reason=reason))
        return gate.closed_until - now

    def _gate(self, key: str) -> _Gate:
        if key not in self._gates:
            if len(self._gates) >= self._sweep_at:
                self._sweep()
            capacities = self._capacities
            self._gates[key] = _Gate(
                capacities.spacing_of(key),
                capacities.concurrency_of(key),
                self._share(f"host {key}"),
            )
        return self._gates[key]

    def _sweep(self) -> None:
        """Delete gates without state to keep: a long run meets many hosts."""
        self._gates = {key: gate for key, gate in self._gates.items() if not self._is_idle(gate)}
        self._sweep_at = max(SWEEP, 2 * len(self._gates))

    def _is_idle(self, gate: _Gate) -> bool:
        if gate.inside or gate.waiting:
            return False
        remembered = gate.closed_until + (LONGEST_PAUSE if gate.trips else 0)
        return self._now() >= max(remembered, gate.next_start)

    @staticmethod
    def _now() -> float:
        return anyio.current_time()
