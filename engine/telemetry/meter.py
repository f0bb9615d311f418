"""How long the workers of a pool have been busy, starved and blocked."""

import time
from types import TracebackType


class Meter:
    """Adds up the time that any number of tasks spend inside it, in seconds: `with meter: ...`.

    Time still going on counts, so a stage that takes an hour an item shows as busy meanwhile.
    """

    __slots__ = ("_inside", "_total", "changed")

    def __init__(self) -> None:
        self._inside = 0
        self._total = 0.0
        self.changed = time.monotonic()
        """When somebody last went in or came out."""

    def __enter__(self) -> float:
        """When the block began, for those who want to know how long it took them."""
        now = time.monotonic()
        self._total += self._inside * (now - self.changed)
        self.changed = now
        self._inside += 1
        return now

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = time.monotonic()
        self._total += self._inside * (now - self.changed)
        self.changed = now
        self._inside -= 1

    @property
    def seconds(self) -> float:
        """The total until now."""
        return self._total + self._inside * (time.monotonic() - self.changed)
