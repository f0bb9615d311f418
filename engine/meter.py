"""How long the workers of a pool have been busy, starved and blocked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """Adds up the time that any number of tasks spend inside it, in seconds.

    Time still going on counts, so a stage that takes an hour an item shows as busy meanwhile.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._total = 0.0
        self._since = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """One more task is inside, until the block ends."""
        self._settle()
        self._inside += 1
        try:
            yield
        finally:
            self._settle()
            self._inside -= 1

    @property
    def seconds(self) -> float:
        """The total until now."""
        self._settle()
        return self._total

    def _settle(self) -> None:
        now = time.monotonic()
        self._total += self._inside * (now - self._since)
        self._since = now
