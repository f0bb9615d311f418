"""The future events of a simulation, and its clock."""

import heapq
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class EventQueue:
    """What happens when, in the order of its time; at one time, in the order it was planned in.

    `now` is the simulation's time, in seconds from its beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0

    def at(self, time: float, action: Callable[[T], None], argument: T) -> None:
        """Have `action(argument)` called at this time."""
        self._order += 1
        heapq.heappush(self._events, (time, self._order, action, argument))

    def next_time(self) -> float | None:
        """When the next event is, None if there is none."""
        return self._events[0][0] if self._events else None

    def happen(self) -> None:
        """It is the next event's time, and it happens."""
        self.now, _, action, argument = heapq.heappop(self._events)
        action(argument)
