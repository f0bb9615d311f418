"""When the suspects of a killed run are tried: last, and in a resident run before others come."""

import anyio

from engine.flow.journey import Journey
from engine.flow.journey.suspects import Held, Suspects
from engine.ledger.group_commit import GroupCommit
from engine.ledger.records import AttemptRow
from engine.telemetry.events import Events, Repaired


class SuspectsTurn:
    """The turn of the suspects: once nothing else is under way, and nothing more can come. The
    source of a resident run may never end, so such a run lets nothing in until they were tried.

    The ledger has of each attempt at one whether it is alone: only then would a death of the run
    count against the item.
    """

    def __init__(
        self, suspects: Suspects, commit: GroupCommit, events: Events, *, resident: bool
    ) -> None:
        self._suspects = suspects
        self._commit = commit
        self._events = events
        self._is_resident = resident
        self._is_trying = False
        self._over = anyio.Event()
        self._alone: AttemptRow | None = None
        """The attempt at a suspect, as long as nothing else has been in hand beside it."""
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

    def holds(self, journey: Journey, stage: str) -> bool:
        """Whether the item has to wait before this stage: it is under suspicion there."""
        held = self._suspects.hold(journey, stage)
        if held:
            what = "a run died with it in hand; it is tried last, and alone"
            self._events.emit(Repaired(journey.item.id, stage, what))
        return held

    async def try_it(self, row: AttemptRow, *, alone: bool) -> None:
        """An attempt at a suspect is about to begin: return once the ledger has whether it is
        `alone`."""
        self._alone = row if alone else None
        await self._mark(row, alone)

    async def has_company(self) -> None:
        """Something else is in hand: an attempt that was alone is so no longer."""
        if self._alone is not None:
            await self._mark(self._alone, False)
            self._alone = None

    def tried(self, row: AttemptRow) -> None:
        """The attempt, perhaps one at a suspect, has ended."""
        if row is self._alone:
            self._alone = None

    async def _mark(self, row: AttemptRow, alone: bool) -> None:
        await self._commit.do(lambda ledger: ledger.killed.mark_alone(row.id, alone))
