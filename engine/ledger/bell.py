"""Has an event loop do something, from threads."""

import asyncio
from collections import deque
from collections.abc import Callable

from anyio.lowlevel import RunVar


class Bell:
    """Has an event loop do something, from threads: what several of them ring for at the same time
    wakes the loop once, and waking it is most of what a short call costs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung: deque[Callable[[], None]] = deque()
        self._waking = False

    def ring(self, callback: Callable[[], None]) -> None:
        """Have `callback`, which does not raise, called on the loop. From any thread."""
        self._rung.append(callback)
        if self._waking:  # it is cleared before they are looked at, so this one is seen
            return
        self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return  # the loop has closed: who waited had given up

    def _wake(self) -> None:
        self._waking = False
        while self._rung:
            self._rung.popleft()()


_bells: RunVar[Bell] = RunVar("penstock_bell")


def bell() -> Bell:
    """The one of the running event loop."""
    found = _bells.get(None)
    if found is None:
        found = Bell()
        _bells.set(found)
    return found
