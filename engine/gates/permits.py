"""Permits to go into a gate of this machine, got from the gate of all machines."""

from collections import deque

import anyio

from engine.gates.shared import SharedGate, SharedLimits

LASTS = 5.0
"""Seconds after which a permit that was not used is void: others were spaced by it."""


class Permits:
    """Permits to go into one gate, got from that of all machines before they are used."""

    def __init__(self, shared: SharedGate, limits: SharedLimits) -> None:
        self.shared = shared
        self._limits = limits
        self._got: deque[float] = deque()

    def use(self, now: float) -> bool:
        """Use a permit, if there is one."""
        self._forget(now)
        if not self._got:
            return False
        self._got.popleft()
        return True

    async def obtain(self) -> float:
        """Wait until there is a permit. The seconds for which the gate of all machines is closed;
        0 where there is a permit."""
        self._forget(anyio.current_time())
        if self._got:
            return 0.0
        shut = await self.shared.enter(self._limits)
        if shut is not None:
            return shut.seconds
        self._got.append(anyio.current_time())
        return 0.0

    def _forget(self, now: float) -> None:
        while self._got and self._got[0] < now - LASTS:
            self._got.popleft()
