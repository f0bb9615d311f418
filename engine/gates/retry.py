"""Decides what follows an attempt that did not end done: an end, or another attempt and when.

Pure policy: no clock and no queue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.contract.errors import BatchFault, Drop, Ending, Permanent, Skip, Throttled

LONE_PATIENCE = 90.0
"""The most seconds that an item is held once it alone is turned away, while others go well."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`delay` is the wait in seconds before the next attempt, None where there is none."""

    outcome: Literal["done", "dropped", "failed", "retried", "throttled"]
    delay: float | None = None
    counts: bool = True
    """Whether the attempt counts against the item."""

    @property
    def final(self) -> bool:
        return self.delay is None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` and `patience` (seconds) of the stage, `first` and `cap` (seconds) of the run.

    The backoff before attempt n + 1 is `first * 2 ** (n - 1)`, at most `cap`, times a jitter of 0.5
    to 1.5, so that items that failed together do not come back together.
    """

    attempts: int
    patience: float
    first: float
    cap: float
    jitter: Callable[[], float]
    """Returns a number from 0 to 1."""

    def judge(
        self,
        ending: Ending,
        attempt: int,
        held_for: float,
        pause: float,
        alone_for: float | None = None,
    ) -> Verdict:
        """The verdict on an attempt. `attempt` is its number, counted from 1; `held_for` the
        seconds that the item has already been held by throttling, and `pause` the seconds that it
        would be held now. `alone_for`: the seconds since the item's first refusal, if it has been
        refused repeatedly and others have not."""
        if isinstance(ending, Skip):
            return Verdict("done")
        if isinstance(ending, Drop):
            return Verdict("dropped")
        if isinstance(ending, Permanent):
            return Verdict("failed")
        if isinstance(ending, Throttled):
            if held_for + pause > self.patience:
                return Verdict("failed")
            if alone_for is not None and alone_for + pause > LONE_PATIENCE:
                return Verdict("failed")
            return Verdict("throttled", delay=pause, counts=False)
        if isinstance(ending, BatchFault):
            return Verdict("retried", delay=0.0, counts=False)
        if attempt >= self.attempts:
            return Verdict("failed")
        wait = min(self.cap, self.first * 2.0 ** min(attempt - 1, 60))
        return Verdict("retried", delay=wait * (0.5 + self.jitter()))
