"""The processor of a modelled machine: whoever needs it shares its cores equally.

That is egalitarian processor sharing (Kleinrock, "Time-shared systems: a theoretical treatment",
JACM 14(2), 1967). Who can use several cores counts as that many sharers, as the operating system
counts its threads.
"""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Processor(Generic[T]):
    """Any number of tasks under way on `cores` cores, or on whatever else is shared so: a link that
    is full with so many has no more to give either."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self._given = 0.0
        self._running: list[tuple[float, int, T, float]] = []
        self._order = 0
        # Each of the sharers has had `_served` core seconds since it all began.
        self._sharers = 0.0
        self._served = 0.0
        self._served_at = 0.0

    def begin(self, task: T, seconds: float, cores: float, now: float) -> None:
        """The task needs so many seconds of a core, or of up to `cores` of them at once."""
        self._serve(now)
        self._sharers += cores
        self._order += 1
        heapq.heappush(self._running, (self._served + seconds / cores, self._order, task, cores))

    def given(self, now: float) -> float:
        """Core seconds that all tasks have had until now."""
        self._serve(now)
        return self._given

    def next_end(self) -> float | None:
        """When the first task ends if no other begins; None if there is none."""
        if not self._running:
            return None
        return self._served_at + (self._running[0][0] - self._served) / self._share()

    def end(self, now: float) -> T:
        """The first task, which ends now."""
        self._serve(now)
        due, _, task, cores = heapq.heappop(self._running)
        self._served = max(self._served, due)
        self._sharers = self._sharers - cores if self._running else 0.0
        return task

    def _share(self) -> float:
        """How fast each sharer goes: 1 where it has a core of its own."""
        return min(1.0, self.cores / self._sharers)

    def _serve(self, now: float) -> None:
        """Bring `_served` up to now."""
        if self._sharers:
            served = (now - self._served_at) * self._share()
            self._served += served
            self._given += served * self._sharers
        self._served_at = now
