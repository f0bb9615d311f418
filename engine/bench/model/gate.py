"""Gates, as `engine.limits` has them, without their waiting: a host's rate and concurrency."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from engine.bench.model.event_queue import EventQueue

T = TypeVar("T")


class Gate(Generic[T]):
    """One host's gate: who waits for it, and who of them is on the way to a worker."""

    __slots__ = (
        "_concurrency", "_events", "_inside", "_line", "_next", "_next_start", "_offer", "_spacing",
    )  # fmt: skip

    def __init__(
        self, rate: float, concurrency: int, events: EventQueue, offer: Callable[[T], None]
    ) -> None:
        """`rate` may start a second and `concurrency` be inside; 0: any number. `offer` brings who
        was first in line to a worker, which asks again whether it `enters`."""
        self._spacing = 1 / rate if rate else 0.0
        self._concurrency = concurrency
        self._events = events
        self._offer = offer
        self._next_start = 0.0
        self._inside = 0
        self._line: deque[T] = deque()
        self._next: T | None = None

    def enters(self, who: T) -> bool:
        """Whether it goes in; else it stands in line, and its worker is free."""
        if who is self._next:
            self._next = None
        elif self._line or self._next is not None or not self._is_open():
            self._line.append(who)
            self._watch()
            return False
        self._inside += 1
        self._next_start = self._events.now + self._spacing
        self._watch()
        return True

    def leave(self) -> None:
        self._inside -= 1
        self._watch()

    def _is_open(self) -> bool:
        return self._events.now >= self._next_start and (
            not self._concurrency or self._inside < self._concurrency
        )

    def _watch(self) -> None:
        if self._line and self._next is None:
            self._events.at(max(self._events.now, self._next_start), Gate._let_next_in, self)

    def _let_next_in(self) -> None:
        if self._line and self._next is None and self._is_open():
            self._next = self._line.popleft()
            self._offer(self._next)


class Gates(Generic[T]):
    """Every host's gate, or whatever else the stages' gates go by."""

    def __init__(
        self,
        rate: float,
        rates: Mapping[str, float],
        concurrency: int,
        events: EventQueue,
        offer: Callable[[T], None],
    ) -> None:
        """`rate` is for what has none of its own in `rates`."""
        self._rate, self._rates, self._concurrency = rate, rates, concurrency
        self._events = events
        self._offer = offer
        self._gates: dict[str, Gate[T] | None] = {}

    def of(self, key: str | None) -> Gate[T] | None:
        """None where everybody may go in."""
        if key is None:
            return None
        if key not in self._gates:
            rate = self._rates.get(key, self._rate)
            held_back = rate or self._concurrency
            made = Gate(rate, self._concurrency, self._events, self._offer)
            self._gates[key] = made if held_back else None
        return self._gates[key]
