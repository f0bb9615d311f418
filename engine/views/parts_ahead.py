"""The parts of items under way, as the events tell of them, and how many are still to come."""

from collections import Counter
from dataclasses import dataclass, field

from engine.contract.item import whence
from engine.telemetry.events import (
    Event,
    ItemEnded,
    ItemGivenUp,
    PartEnded,
    PartEntered,
    PartsExpected,
    SplitEnded,
)

WHOLE = ""
"""The level of whole items; that of parts is called by the step that made them."""


@dataclass(slots=True)
class _Division:
    """The parts of one item, or of one part, that a step makes; `total` once they are all made,
    before that the number `expected` by the step, if it says so. `divided` is the number of those
    under way that have parts themselves."""

    entered: int = 0
    ended: int = 0
    divided: int = 0
    total: int | None = None
    expected: int | None = None

    @property
    def known(self) -> int | None:
        """The number of parts, as far as the step has told it."""
        if self.total is None and self.expected is not None and self.expected < self.entered:
            return None  # it was wrong
        return self.expected if self.total is None else self.total


@dataclass(slots=True)
class _Divided:
    """An item, or a part, under way that has parts, by the step that makes them; `below` is the
    number of those that have ended, at all levels."""

    divisions: dict[str, _Division] = field(default_factory=dict)
    below: int = 0


class PartsAhead:
    """Counts parts. Remembers no more than the items and parts under way that have parts.

    Where a step is still at work on an item, the number to come is what it expects. If it does not
    say, or there are more, it is a guess: that it makes as many parts as it did on average, or,
    once there are more, as many again as there are more.
    """

    def __init__(self) -> None:
        self.entered = 0
        self.ended = 0
        self.abandoned = 0
        """Those of them that go no further."""
        self.worked = 0
        """Those of them that earlier runs had not done."""
        self._divided: dict[str, _Divided] = {}
        self._items = 0
        """The whole items among them."""
        self._splits: Counter[str] = Counter()
        self._made: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._below: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        match event:
            case PartEntered():
                self.entered += 1
                self._division(event.parent, event.split).entered += 1
            case PartEnded():
                self._part_ended(event)
            case PartsExpected():
                self._division(event.item, event.split).expected = event.parts
            case SplitEnded():
                self._division(event.item, event.split).total = event.parts
                self._splits[event.split] += 1
                self._made[event.split] += event.parts
            case ItemGivenUp():
                self._items -= self._leave(event.item, WHOLE, counts=False) is not None
            case ItemEnded():
                divided = self._leave(event.item, WHOLE, counts=not event.reused)
                self._items -= divided is not None

    def _part_ended(self, event: PartEnded) -> None:
        self.ended += 1
        self.abandoned += event.outcome == "abandoned"
        self.worked += not event.reused
        divided = self._leave(event.item, event.split, counts=event.outcome != "abandoned")
        above = self._divided.get(event.parent)
        if above is None or event.split not in above.divisions:
            return
        division = above.divisions[event.split]
        division.ended += 1
        division.divided -= divided is not None
        above.below += 1 + (divided.below if divided is not None else 0)

    def _leave(self, item: str, level: str, *, counts: bool) -> _Divided | None:
        """The item, or part, has ended; returns what it was divided into."""
        divided = self._divided.pop(item, None)
        if counts:
            self._ended[level] += 1
            self._below[level] += divided.below if divided is not None else 0
        return divided

    def _division(self, item: str, split: str) -> _Division:
        divided = self._divided.get(item)
        if divided is None:
            divided = self._divided[item] = _Divided()
            above = whence(item)
            if above is None:
                self._items += 1
            else:
                self._division(*above).divided += 1
        return divided.divisions.setdefault(split, _Division())

    def ahead(self, items: int) -> tuple[float, int]:
        """The number of parts that are still to end, about, while so many items are under way; and
        how many of these items wait for none."""
        parts, below, free = 0.0, self._below[WHOLE], 0
        for id_, divided in self._divided.items():
            mine = sum(self._to_end(split, one) for split, one in divided.divisions.items())
            parts += mine
            if whence(id_) is None:
                free += not mine
                below += divided.below
        seen = self._ended[WHOLE] + self._items
        mean = (below + parts) / seen if seen else 0.0
        return parts + (items - self._items) * mean, free

    def is_known(self, items: int) -> bool:
        """Whether `ahead` is no guess while so many items are under way: all of them are divided,
        and the steps have told into how many."""
        return items == self._items and all(
            one.known is not None and not self._mean(split)
            for divided in self._divided.values()
            for split, one in divided.divisions.items()
        )

    @property
    def has_usual(self) -> bool:
        """Whether a guess of the number of parts has others to go by."""
        return any(self._splits.values())

    def _to_end(self, split: str, division: _Division) -> float:
        total = max(division.entered, self._total(split, division))
        whole = total - division.ended - division.divided
        return division.divided + whole * (1 + self._mean(split))

    def _total(self, split: str, division: _Division) -> float:
        if division.known is not None:
            return division.known
        usual = self._made[split] / self._splits[split] if self._splits[split] else 0.0
        return max(usual, 2 * division.entered - usual)

    def _mean(self, level: str) -> float:
        """The number of parts, at all levels, that one of this level has on average."""
        return self._below[level] / self._ended[level] if self._ended[level] else 0.0
