"""Gates by the engine's own rules (`GateState`), and those who wait for one: a line in each pool.

The line is what `engine.flow.holding` has it: who comes while others of its pool wait stands behind
them; the first goes to a worker when the gate is open, and remains the first if it finds it shut.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from engine.bench.model.event_queue import EventQueue
from engine.gates.capacity import Capacities
from engine.gates.hosts import GateState


class InPool(Protocol):
    """What goes through gates: it is in the pool of the stage with this number."""

    stage: int


T = TypeVar("T", bound=InPool)


class _Line(Generic[T]):
    """Those of one pool who wait for one gate. `called`: the first is on its way to a worker;
    `timed`: it is looked at again when the gate may open."""

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
        """`offer` brings who is first in line to a worker, which asks again whether it `enters`."""
        self._state = GateState(spacing, concurrency)
        self._events = events
        self._offer = offer
        self._lines: dict[int, _Line[T]] = {}

    def enters(self, who: T) -> bool:
        """Whether it goes in; else it stands in line, and its worker is free."""
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
        """Stand in line, as a retry does whose time has come."""
        line = self._lines.setdefault(who.stage, _Line())
        line.waiting.append(who)
        self._watch(line)

    def leave(self) -> None:
        self._state.leave(self._events.now)
        for line in self._lines.values():
            self._watch(line)

    def _watch(self, line: _Line[T]) -> None:
        """Call the first in line if the gate is open, or see to it that it is called once it is;
        where the gate is full, whoever leaves does so."""
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
    """Every host's gate, or whatever else the stages' gates go by."""

    def __init__(
        self,
        capacities: Capacities,
        rates: Mapping[str, float],
        events: EventQueue,
        offer: Callable[[T], None],
    ) -> None:
        """`rates` are items that may start a second, by key, and go before those of `capacities`;
        0: any number."""
        self._capacities, self._rates = capacities, rates
        self._events = events
        self._offer = offer
        self._gates: dict[str, ModelGate[T]] = {}

    def of(self, key: str | None) -> ModelGate[T] | None:
        """None without a key: everybody may go in."""
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
