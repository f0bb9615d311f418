"""What handing over a part means to the worker that does it, and to the item that it is of."""

from collections.abc import Awaitable, Callable

import anyio

from engine.contract.parts import MadePart
from engine.flow.division import Division
from engine.gates.resources import Share
from engine.ledger.outputs.drafts import Handing
from engine.telemetry.events import Events, PartsExpected
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
        with self._busy.left():
            if self._share is not None:
                self._share.leave()
            try:
                with self._blocked as began:
                    await self._inner.hand_over(part, content)
            finally:
                self.waited += self._blocked.changed - began
                if self._share is not None:
                    # The attempt gives it back at its end, also where it is cancelled here.
                    with anyio.CancelScope(shield=True):
                        await self._share.enter()

    def expect(self, count: int) -> None:
        self._inner.expect(count)


class SplittingItem:
    """The run's side of one attempt that splits an item: a `Handing`. `take` is the run's way to
    commit a part, and to pass it on."""

    def __init__(
        self,
        take: Callable[[Division, MadePart, str], Awaitable[None]],
        division: Division,
        events: Events,
    ) -> None:
        self._take = take
        self._division = division
        self._events = events
        self.standing = division.standing

    async def hand_over(self, part: MadePart, content: str) -> None:
        await self._take(self._division, part, content)

    def expect(self, count: int) -> None:
        item, split = self._division.journey.item, self._division.split
        self._events.emit(PartsExpected(item.id, split, count))
