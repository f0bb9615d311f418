"""A way for threads to have callbacks run on an event loop."""

import asyncio
from collections import deque
from collections.abc import Callable

from anyio.lowlevel import RunVar


class Bell:
    """Runs callbacks on an event loop, from any thread. Callbacks rung at the same time wake the
    loop once: waking it is most of the cost of a short call."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung: deque[Callable[[], None]] = deque()
        self._waking = False

    def ring(self, callback: Callable[[], None]) -> None:
        """Have `callback`, which must not raise, called on the loop. From any thread."""
        self._rung.append(callback)
        if self._waking:  # cleared before the callbacks run, so the loop still sees this one
            return
        self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return  # the loop has closed: nobody waits for the callback any more

    def _wake(self) -> None:
        self._waking = False
        while self._rung:
            self._rung.popleft()()


_bells: RunVar[Bell] = RunVar("penstock_bell")


def bell() -> Bell:
    """The bell of the running event loop."""
    found = _bells.get(None)
    if found is None:
        found = Bell()
        _bells.set(found)
    return found
