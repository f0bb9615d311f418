"""A limit that a stage's code sets itself, for one part of an attempt: `deadline`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from engine.contract.errors import Ending

Watcher = Callable[["Deadline | None"], None]
"""Is told which deadline holds from now on: whoever can end a block that does not look itself."""


class Deadline:
    """When a block has to have ended (`at`, on the monotonic clock), and what it means that it has
    not: the attempt ends as `missed`."""

    def __init__(self, at: float, missed: Ending) -> None:
        self.at = at
        self.missed = missed
        self.holds = True

    @property
    def seconds(self) -> float:
        """Seconds that are left."""
        return self.at - time.monotonic()

    def lift(self) -> None:
        """What is left of the block may take as long as it likes."""
        if self.holds:
            self.holds = False
            _tell()


_held: ContextVar[tuple[Deadline, ...]] = ContextVar("deadlines", default=())

watcher: ContextVar[Watcher | None] = ContextVar("deadline_watcher", default=None)
"""Set by a worker that is told of deadlines as they come and go."""


@contextmanager
def deadline(seconds: float, missed: Ending) -> Iterator[Deadline]:
    """Have the block take at most `seconds`; else the attempt ends as `missed` says.

    `engine.checkpoint` raises `missed` once the time is up. With `placement = "process"` a block
    that calls it too late, or never, is ended with its process; a thread cannot be.
    """
    held = Deadline(time.monotonic() + seconds, missed)
    token = _held.set((*_held.get(), held))
    _tell()
    try:
        yield held
    finally:
        _held.reset(token)
        _tell()


def check_deadlines() -> None:
    """Raise what the deadline says that has been missed, if one has."""
    held = _held.get()
    if held:
        now = time.monotonic()
        for one in held:
            if one.holds and one.at < now:
                raise one.missed


def _tell() -> None:
    tell = watcher.get()
    if tell is not None:
        tell(min((one for one in _held.get() if one.holds), key=lambda one: one.at, default=None))
