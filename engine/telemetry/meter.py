"""A meter for the time that the workers of a pool are busy, starved or blocked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Meter:
    """Adds up the time that any number of tasks spend inside it, in seconds: `with meter: ...`.

    Time still going on counts, so a stage that takes an hour for an item shows as busy meanwhile.
    """

    __slots__ = ("_inside", "_total", "changed")

    def __init__(self) -> None:
        self._inside = 0
        self._total = 0.0
        self.changed = time.monotonic()
        """Time of the last entry or exit."""

    def __enter__(self) -> float:
        """Return the time of entry, for a caller that measures its own block."""
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

    @contextmanager
    def left(self) -> Iterator[None]:
        """For a task that is inside: its time in this block does not count."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    @property
    def seconds(self) -> float:
        """The total until now, in seconds."""
        return self._total + self._inside * (time.monotonic() - self.changed)
