"""What handing over a part means to the worker that does it."""

import anyio

from engine.contract.parts import MadePart
from engine.gates.resources import Share
from engine.ledger.outputs.drafts import Handing
from engine.telemetry.meter import Meter


class PoolHanding:
    """Where an attempt hands over parts. While one waits for room the worker is blocked, not busy,
    and its step's turn at what the stage needs goes to others. `waited`: the seconds of it."""

    def __init__(self, inner: Handing, busy: Meter, blocked: Meter, share: Share | None) -> None:
        self._inner = inner
        self._busy = busy
        self._blocked = blocked
        self._share = share
        self.standing = inner.standing
        self.waited = 0.0

    async def hand_over(self, part: MadePart, content: str) -> None:
        self._busy.__exit__(None, None, None)
        if self._share is not None:
            self._share.leave()
        try:
            with self._blocked as began:
                await self._inner.hand_over(part, content)
        finally:
            self.waited += self._blocked.changed - began
            if self._share is not None:
                with anyio.CancelScope(shield=True):
                    await self._share.enter()
            self._busy.__enter__()
