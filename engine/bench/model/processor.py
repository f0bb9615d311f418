"""The processor of a modelled machine: all tasks share its cores equally.

This is egalitarian processor sharing (Kleinrock, "Time-shared systems: a theoretical treatment",
JACM 14(2), 1967). A task that can use several cores counts as that many sharers, as the operating
system counts its threads.
"""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Processor(Generic[T]):
    """Any number of tasks under way on `cores` cores, or on another resource that is shared in this
    way: a network link that is full with `cores` transfers."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self._given = 0.0
        self._running: list[tuple[float, int, T, float]] = []
        self._order = 0
        # Virtual time: the core seconds that one sharer would have had since the beginning.
        self._sharers = 0.0
        self._served = 0.0
        self._served_at = 0.0

    def begin(self, task: T, seconds: float, cores: float, now: float) -> None:
        """Begin a task that needs `seconds` of core time, on up to `cores` cores at once."""
        self._serve(now)
        self._sharers += cores
        self._order += 1
        heapq.heappush(self._running, (self._served + seconds / cores, self._order, task, cores))

    def given(self, now: float) -> float:
        """Core seconds given to all tasks until now."""
        self._serve(now)
        return self._given

    def next_end(self) -> float | None:
        """The time at which the first task ends if no other begins; None if there is none."""
        if not self._running:
            return None
        return self._served_at + (self._running[0][0] - self._served) / self._share()

    def end(self, now: float) -> T:
        """Remove and return the first task, which ends now."""
        self._serve(now)
        due, _, task, cores = heapq.heappop(self._running)
        self._served = max(self._served, due)
        self._sharers = self._sharers - cores if self._running else 0.0
        return task

    def _share(self) -> float:
        """The speed of each sharer: 1 if it has a core of its own."""
        return min(1.0, self.cores / self._sharers)

    def _serve(self, now: float) -> None:
        """Advance `_served` to now."""
        if self._sharers:
            served = (now - self._served_at) * self._share()
            self._served += served
            self._given += served * self._sharers
        self._served_at = now
