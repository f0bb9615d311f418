"""Says when too many items fail for a run to go on. Pure policy: no clock and no disk."""

from collections import deque

LONGEST_SPAN = 100_000
"""Items that ended which the failure budget looks back on at most, however many are under way."""


class FailureBudget:
    """Says when too many of the latest items have failed for the run to go on.

    It looks at the last `window` items that ended and at all that are under way, and speaks once
    more than `share` of them and at least `minimum` have failed; so it also works on a short list.
    What fails often fails at once, while what goes well is long under way: the share of what ended
    alone would be that of what is fast.

    A failure whose reason lies in its item alone is left out, as it says nothing of the run. But
    where a stage does nothing well at all, the reason may be another than it seems; so it counts
    until the stage has done an item well, or is still at work on an earlier one.
    """

    def __init__(self, share: float, window: int, minimum: int) -> None:
        self._share = share
        self._window = window
        self._minimum = minimum
        self._latest: deque[bool] = deque()
        self._failures = 0
        self._under_way: dict[str, int] = {}
        """Items that were begun and are not waiting after a failed attempt: their last attempt."""
        self._well: set[str] = set()
        """The stages that have done an item well."""
        self._counting: set[str] = set()
        """Items under way that have failed in a way that counts."""

    def begun(self, item: str, attempt: int) -> None:
        """An attempt at the item begins; `attempt` numbers those of the run."""
        self._under_way[item] = attempt

    def put_off(self, item: str) -> None:
        """The attempt did not go well, and another may follow."""
        self._under_way.pop(item, None)

    def settled(self, item: str, stage: str, outcome: str, *, alone: bool) -> None:
        """The stage has ended with the item."""
        if outcome == "failed":
            if not alone or not (stage in self._well or self._is_overtaking(item)):
                self._counting.add(item)
        elif outcome == "done":
            self._well.add(stage)

    def ended(self, item: str, outcome: str) -> str | None:
        """The item has ended; returns why the run has to stop, or None."""
        counts = item in self._counting or outcome != "failed"
        self._counting.discard(item)
        self._under_way.pop(item, None)
        return self.record(outcome == "failed") if counts else None

    def record(self, failed: bool) -> str | None:
        """Count one item that ended; returns why the run has to stop, or None."""
        self._latest.append(failed)
        self._failures += failed
        under_way = len(self._under_way)
        while len(self._latest) > self._span(under_way):
            self._failures -= self._latest.popleft()
        started = len(self._latest) + under_way
        if self._failures < self._minimum or self._failures <= self._share * started:
            return None
        still = f" ({under_way} of them are still under way)" if under_way else ""
        return (
            f"{self._failures} of the last {started} items failed{still}, over the failure budget "
            f"(limits.failure_budget = {self._share:g}); see the failures above, mend the cause, "
            "and run again"
        )

    def _span(self, under_way: int) -> int:
        """Items that ended to look back on: so many that failures can outweigh what is under way,
        and a run in which everything fails ends however many workers and queues it has."""
        if self._share >= 1:
            return self._window
        outweighing = under_way * self._share / (1 - self._share) + self._minimum
        return max(self._window, int(min(outweighing, LONGEST_SPAN)))

    def _is_overtaking(self, item: str) -> bool:
        """Whether an item that was begun earlier is still under way."""
        mine = self._under_way.get(item, 0)
        return any(attempt < mine for attempt in self._under_way.values())
