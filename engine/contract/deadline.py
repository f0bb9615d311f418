"""A time limit that a stage sets itself, for one part of an attempt: `deadline`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from engine.contract.errors import Ending

Watcher = Callable[["Deadline | None"], None]
"""Called with the deadline that holds from now on, or None. It belongs to a worker that can end a
block which never calls `checkpoint`."""


class Deadline:
    """The time by which a block has to end (`at`, on the monotonic clock). If the block overruns
    it, the attempt ends as `missed`."""

    def __init__(self, at: float, missed: Ending) -> None:
        self.at = at
        self.missed = missed
        self.holds = True

    @property
    def seconds(self) -> float:
        """Seconds left until the deadline."""
        return self.at - time.monotonic()

    def lift(self) -> None:
        """Remove the limit: the rest of the block may take any time."""
        if self.holds:
            self.holds = False
            _tell()


_held: ContextVar[tuple[Deadline, ...]] = ContextVar("deadlines", default=())

watcher: ContextVar[Watcher | None] = ContextVar("deadline_watcher", default=None)
"""Set by a worker that wants to hear of each change of deadline."""


@contextmanager
def deadline(seconds: float, missed: Ending) -> Iterator[Deadline]:
    """Let the block take at most `seconds`; past that, the attempt ends as `missed`.

    `engine.checkpoint` raises `missed` once the time is up. With `placement = "process"` the run
    kills the process of a block that calls `checkpoint` too late, or never; a thread cannot be
    killed. The time in which a splitting stage waits for a part to be taken does not count.
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
    """Raise the `missed` of the first deadline that has passed, if one has."""
    held = _held.get()
    if held:
        now = time.monotonic()
        for one in held:
            if one.holds and one.at < now:
                raise one.missed


def postpone_deadlines(seconds: float) -> None:
    """Move every deadline that holds: these seconds were the engine's, not the stage's."""
    held = _held.get()
    for one in held:
        one.at += seconds
    if held:
        _tell()


def _tell() -> None:
    tell = watcher.get()
    if tell is not None:
        tell(min((one for one in _held.get() if one.holds), key=lambda one: one.at, default=None))
