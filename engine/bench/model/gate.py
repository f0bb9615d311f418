"""Gates by the engine's own rules (`GateState`), with a waiting line for each pool.

The line follows `engine.flow.holding`: an item that comes while others of its pool wait stands
behind them; the first goes to a worker when the gate is open, and stays first if it finds the gate
closed again.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from engine.bench.model.event_queue import EventQueue
from engine.gates.capacity import Capacities
from engine.gates.hosts import GateState


class InPool(Protocol):
    """An item that passes gates: it is in the pool of the stage with this number."""

    stage: int


T = TypeVar("T", bound=InPool)


class _Line(Generic[T]):
    """The items of one pool that wait for one gate. `called`: the first is on its way to a worker;
    `timed`: the line is checked again when the gate may open."""

    __slots__ = ("called", "timed", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()
        self.called = False
        self.timed = False


class ModelGate(Generic[T]):
    """One key's gate, with its lines."""

    def __init__(
        self, spacing: float, concurrency: int, events: EventQueue, offer: Callable[[T], None]
    ) -> None:
        """`offer` brings the first in line to a worker, which asks again with `enters`."""
        self._state = GateState(spacing, concurrency)
        self._events = events
        self._offer = offer
        self._lines: dict[int, _Line[T]] = {}

    def enters(self, who: T) -> bool:
        """Whether `who` goes in; else it joins the line, and its worker is free."""
        line = self._lines.get(who.stage)
        if line is None or not line.waiting:
            if self._state.enter(self._events.now):
                return True
            line = self._lines.setdefault(who.stage, _Line())
            line.waiting.append(who)
        elif line.called and line.waiting[0] is who:
            line.called = False
            if self._state.enter(self._events.now):
                line.waiting.popleft()
                self._look_at(self._events.now, line)  # others come before the next in line
                return True
        else:
            line.waiting.append(who)
            return False
        self._watch(line)
        return False

    def line_up(self, who: T) -> None:
        """Join the line, as an item does after its retry's backoff."""
        line = self._lines.setdefault(who.stage, _Line())
        line.waiting.append(who)
        self._watch(line)

    def withdraw(self, who: T) -> None:
        """`who` does not want to go in any more; nothing happens where it stands in no line."""
        line = self._lines.get(who.stage)
        if line is not None and who in line.waiting:
            line.called = line.called and line.waiting[0] is not who
            line.waiting.remove(who)
            self._watch(line)

    def leave(self) -> None:
        self._state.leave(self._events.now)
        for line in self._lines.values():
            self._watch(line)

    def _watch(self, line: _Line[T]) -> None:
        """Call the first in line if the gate is open, else plan the check for when it opens. If the
        gate is full, the next `leave` makes the call."""
        if not line.waiting or line.called:
            return
        now, opens = self._events.now, self._state.opens_at()
        if self._state.is_open(now):
            line.called = True
            self._offer(line.waiting[0])
        elif now < opens:
            self._look_at(opens, line)

    def _look_at(self, time: float, line: _Line[T]) -> None:
        if line.waiting and not line.timed:
            line.timed = True
            self._events.at(time, self._look, line)

    def _look(self, line: _Line[T]) -> None:
        line.timed = False
        self._watch(line)


class ModelGates(Generic[T]):
    """The gates of all keys: hosts, or other keys of the stages."""

    def __init__(
        self,
        capacities: Capacities,
        rates: Mapping[str, float],
        events: EventQueue,
        offer: Callable[[T], None],
    ) -> None:
        """`rates` are the starts per second by key, and override those of
        `capacities`; 0: no limit."""
        self._capacities, self._rates = capacities, rates
        self._events = events
        self._offer = offer
        self._gates: dict[str, ModelGate[T]] = {}

    def of(self, key: str | None) -> ModelGate[T] | None:
        """The gate of `key`; None for an item without a key, which waits for no gate."""
        if key is None:
            return None
        if key not in self._gates:
            spacing, concurrency = self._spacing(key), self._capacities.concurrency_of(key)
            self._gates[key] = ModelGate(spacing, concurrency, self._events, self._offer)
        return self._gates[key]

    def _spacing(self, key: str) -> float:
        rate = self._rates.get(key)
        if rate is None:
            return self._capacities.spacing_of(key)
        return 1 / rate if rate else 0.0
