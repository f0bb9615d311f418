"""How long the workers of a pool have been busy, starved and blocked."""

import time
from types import TracebackType


class Meter:
    """Adds up the time that any number of tasks spend inside it, in seconds: `with meter: ...`.

    Time still going on counts, so a stage that takes an hour an item shows as busy meanwhile.
    """

    __slots__ = ("_inside", "_since", "_total")

    def __init__(self) -> None:
        self._inside = 0
        self._total = 0.0
        self._since = time.monotonic()

    def __enter__(self) -> None:
        now = time.monotonic()
        self._total += self._inside * (now - self._since)
        self._since = now
        self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = time.monotonic()
        self._total += self._inside * (now - self._since)
        self._since = now
        self._inside -= 1

    @property
    def seconds(self) -> float:
        """The total until now."""
        return self._total + self._inside * (time.monotonic() - self._since)
