"""When the suspects of a killed run are tried: last, and in a resident run before others come."""

import anyio

from engine.flow.journey.suspects import Held, Suspects


class SuspectsTurn:
    """The turn of the suspects: once nothing else is under way, and nothing more can come. The
    source of a resident run may never end, so such a run lets nothing in until they were tried."""

    def __init__(self, suspects: Suspects, *, resident: bool) -> None:
        self._suspects = suspects
        self._is_resident = resident
        self._is_trying = False
        self._over = anyio.Event()
        self.reading = 0
        """1 while the source of a resident run is read; it counts as under way."""

    def begin_reading(self) -> None:
        self.reading = int(self._is_resident)

    async def over(self) -> None:
        """Return when a resident run may let the next item in."""
        while self._is_resident and (self._is_trying or self._suspects.items_held):
            await self._over.wait()

    def next(self, under_way: int) -> Held | None:
        """The next suspect to try, where nothing is at work; `under_way` counts all that is in the
        run. None where it is not their turn, or there is none."""
        if under_way != self._suspects.items_held + self.reading:
            return None
        held = self._suspects.next()
        self._is_trying = held is not None
        if held is None:
            self._over.set()
            self._over = anyio.Event()
        return held
