"""The future events of a simulation, and its clock."""

import heapq
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class EventQueue:
    """Future events in the order of their time; events of one time in the order of planning.

    `now` is the simulation's time, in seconds from its beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0

    def at(self, time: float, action: Callable[[T], None], argument: T) -> None:
        """Plan the call `action(argument)` for this time."""
        self._order += 1
        heapq.heappush(self._events, (time, self._order, action, argument))

    def next_time(self) -> float | None:
        """The time of the next event, None if there is none."""
        return self._events[0][0] if self._events else None

    def happen(self) -> None:
        """Move the clock to the next event and run it."""
        self.now, _, action, argument = heapq.heappop(self._events)
        action(argument)
