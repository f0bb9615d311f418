"""Decides when too many items have failed for the run to go on. Pure policy: no clock, no disk."""

from collections import deque

LONGEST_SPAN = 100_000
"""The most ended items that the failure budget looks back on, with any number under way."""


class FailureBudget:
    """Decides when too many of the latest items have failed for the run to go on.

    It counts the last `window` ended items and all items under way, and stops the run once more
    than `share` of them and at least `minimum` have failed; so it also works on a short list.
    Failures are often quick, while successes take long: a share of the ended items alone would
    overstate the failures.

    A failure that concerns only its item is not counted. But if a stage does nothing well at all,
    the cause may be another one; so such failures count until the stage has done an item well. They
    do not count while an item that began earlier is under way: it may still go well.
    """

    def __init__(self, share: float, window: int, minimum: int) -> None:
        self._share = share
        self._window = window
        self._minimum = minimum
        self._latest: deque[bool] = deque()
        self._failures = 0
        self._under_way: dict[str, int] = {}
        """Items under way, without those that wait after a failed attempt: the number of their last
        attempt."""
        self._well: set[str] = set()
        """The stages that have done an item well."""
        self._counting: set[str] = set()
        """Items under way with a failure that counts."""

    def begun(self, item: str, attempt: int) -> None:
        """An attempt at the item begins; `attempt` is its number in the run."""
        self._under_way[item] = attempt

    def put_off(self, item: str) -> None:
        """The attempt did not end well, and another one may follow."""
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
        self.left(item)
        return self.record(outcome == "failed") if counts else None

    def left(self, item: str) -> None:
        """The item has left the run without an end."""
        self._counting.discard(item)
        self._under_way.pop(item, None)

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
        """The number of ended items to look back on: large enough for failures to outweigh the
        items under way, so that a run in which everything fails ends with any number of workers and
        queues."""
        if self._share >= 1:
            return self._window
        outweighing = under_way * self._share / (1 - self._share) + self._minimum
        return max(self._window, int(min(outweighing, LONGEST_SPAN)))

    def _is_overtaking(self, item: str) -> bool:
        """Whether an item that began earlier is still under way."""
        mine = self._under_way.get(item, 0)
        return any(attempt < mine for attempt in self._under_way.values())
