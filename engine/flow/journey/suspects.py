"""Items that may have killed a run, each with its stage at that time: tried last and alone.

A run cannot record its own death. An attempt leaves its scratch folder, and the next run finds it;
so every item that the run had in hand is under suspicion, most of them wrongly. A death counts as
an attempt only if nothing else was in hand, and the run had recorded that before. A worker process
outlives a run that its item did not kill, and leaves a mark; then the item is not under suspicion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.contract.item import Item
from engine.flow.journey.journey import Journey
from engine.ledger.outputs.folders import abandoned_stages
from engine.ledger.writer import Ledger


@dataclass(frozen=True, slots=True)
class Held:
    """An item that waits before `stage` until nothing else is under way; `deaths` runs have died
    when it was tried alone."""

    journey: Journey
    stage: str
    deaths: int


class Suspects:
    """The suspects, and those of them that wait. `look` is called in the ledger's thread."""

    def __init__(
        self,
        known: Mapping[tuple[str, str], int],
        died: int | None,
        stages: Sequence[str],
        number: Callable[[], int],
    ) -> None:
        """`known` are those of earlier runs; `died` is the number of the run before this one, if it
        was killed; `number` gives the next number of an attempt."""
        self._known = dict(known)
        self._died = died
        self._stages = stages
        self._number = number
        self._held: list[Held] = []

    def look(self, ledger: Ledger, item: Item) -> None:
        """Check, before the item's scratch folders are swept, whether the run before this one died
        with the item in hand."""
        if self._died is None:
            return
        for stage in abandoned_stages(item, self._stages):
            ledger.killed.mark(item.id, stage, self._died, self._number)
            self._known[item.id, stage] = ledger.killed.deaths(item.id, stage)

    def hold(self, journey: Journey, stage: str) -> bool:
        """Have the item wait if it is under suspicion at this stage; returns whether it does."""
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
        """Number of whole items that wait, themselves or with a part."""
        return len({held.journey.item.root.id for held in self._held})

    def next(self) -> Held | None:
        """The next suspect to try: of those that wait, the one with the fewest deaths."""
        if not self._held:
            return None
        held = min(self._held, key=lambda one: one.deaths)
        self._held.remove(held)
        return held
