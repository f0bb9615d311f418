"""Items that a run may have died of, each with the stage that had it in hand: tried last and alone.

A run cannot write down that it is dying. What an attempt leaves is its scratch folder, and the
next run finds that; so all that the run had in hand is under suspicion, most of it wrongly. What
counts, as an attempt, is a death with nothing else in hand, in a run that had written down before
that it is so. A worker that is a process outlives a run that its item has not killed, and says so;
then the item is not under suspicion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.contract.item import Item
from engine.flow.journey import Journey
from engine.ledger.output_folders import abandoned_stages
from engine.ledger.writer import Ledger


@dataclass(frozen=True, slots=True)
class Held:
    """An item that waits before `stage` until it is alone; `deaths` runs have died when it was."""

    journey: Journey
    stage: str
    deaths: int


class Suspects:
    """Who is under suspicion, and who of them waits. `look` is called in the ledger's thread."""

    def __init__(
        self,
        known: Mapping[tuple[str, str], int],
        died: int | None,
        stages: Sequence[str],
        number: Callable[[], int],
    ) -> None:
        """`known` are those of earlier runs; `died` is the run before this one, if it was killed;
        `number` numbers attempts."""
        self._known = dict(known)
        self._died = died
        self._stages = stages
        self._number = number
        self._held: list[Held] = []

    def look(self, ledger: Ledger, item: Item) -> None:
        """Before its scratch folders are swept: whether the run before this one died with the item
        in hand."""
        if self._died is None:
            return
        for stage in abandoned_stages(item, self._stages):
            ledger.killed.mark(item.id, stage, self._died, self._number)
            self._known[item.id, stage] = ledger.killed.deaths(item.id, stage)

    def hold(self, journey: Journey, stage: str) -> bool:
        """Have the item wait if it is under suspicion there."""
        deaths = self._known.get((journey.item.id, stage))
        if deaths is None:
            return False
        self._held.append(Held(journey, stage, deaths))
        return True

    def withdraw(self, journey: Journey, stage: str) -> bool:
        """The item does not wait before `stage` any longer; returns whether it did."""
        for number, held in enumerate(self._held):
            if held.journey is journey and held.stage == stage:
                del self._held[number]
                return True
        return False

    @property
    def items_held(self) -> int:
        """The number of items that wait."""
        return len({held.journey.item.id for held in self._held})

    def next(self) -> Held | None:
        """The next one's turn has come: of those that wait, the one with the fewest deaths."""
        if not self._held:
            return None
        held = min(self._held, key=lambda one: one.deaths)
        self._held.remove(held)
        return held
