"""Decides when the end of an item is reported: after the ledger has it, and, for a list, after the
items that it produced have ended. An item that was given up leaves without an end, and so do the
lists that hold it.

Pure: no clock, no disk, no database.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.flow.journey import Journey
from engine.ledger.records import Settled


@dataclass(slots=True)
class _Open:
    """An item whose end has not been reported. `before` is the number of items that it waits for
    and of readers that still read it; `waiting` are the items that wait for this one; `is_left`
    says that it, or an item that it holds, was given up."""

    journey: Journey
    before: int = 0
    waiting: list[str] = field(default_factory=list)
    end: tuple[Settled | None, bool] | None = None
    is_left: bool = False


class Endings:
    """The items of a run whose ends have not been reported yet.

    `tell` is called once for every item that has ended, with its id, its outcome, and whether
    earlier runs had done all of it: after the ends of the items that it produced, and otherwise in
    the order of the ends. The outcome is None where the item was given up, or one that it holds.
    Lists may name one another, and themselves: then the one that was under way first does not wait
    for the other.
    """

    def __init__(self, tell: Callable[[str, Settled | None, bool], None]) -> None:
        self._tell = tell
        self._open: dict[str, _Open] = {}

    def __contains__(self, item: str) -> bool:
        """Whether the item has entered, and its end has not been reported."""
        return item in self._open

    def entered(self, journey: Journey) -> None:
        """The item has entered the run; the list that is its parent produced it."""
        item, parent = journey.item.id, journey.parent
        self._open[item] = _Open(journey)
        if parent is not None:
            self._wait(parent, item)
            if parent in self._open:
                journey.priority = self._open[parent].journey.priority

    def lists_of(self, item: str) -> list[str]:
        """The lists under way that wait for the item. From any thread."""
        one = self._open.get(item)
        return list(one.waiting) if one is not None else []

    def hurry(self, item: str, priority: int) -> None:
        """The item, which is under way, is wanted with this priority too."""
        journey = self._open[item].journey
        journey.priority = max(journey.priority, priority)

    def journeys(self, item: str, is_wanted: Callable[[str], bool]) -> list[Journey]:
        """The undecided journeys that end with the item's if that is given up: its own, and those
        of the items that it has produced, that no other list waits for, and that are not wanted for
        themselves."""
        leaving, before = {item}, 0
        while len(leaving) > before:
            before = len(leaving)
            leaving |= {
                id_
                for id_, one in self._open.items()
                if one.waiting and leaving >= {*one.waiting} and not is_wanted(id_)
            }
        found = (one for id_, one in self._open.items() if id_ in leaving)
        return [one.journey for one in found if one.end is None and not one.journey.is_decided]

    def held_again(self, item: str, parent: str) -> None:
        """The list `parent` names the item too, which entered in another way."""
        if item in self._open and parent in self._open and not self._waits_for(item, parent):
            self._wait(parent, item)

    def lose(self, parent: str) -> None:
        """The list `parent` names an item that was given up."""
        if parent in self._open:
            self._open[parent].is_left = True

    def reading(self, item: str) -> None:
        """The items of the list `item` are about to be read from the ledger, without an attempt:
        until `read`."""
        self._open[item].before += 1

    def read(self, item: str) -> None:
        """The list has been read to its end."""
        self._one_less(item)

    def ended(self, item: str, outcome: Settled | None, reused: bool) -> None:
        """The item has ended, and the ledger has it; None: it was given up, and has no end."""
        if outcome is None:  # of what it holds, and others want too, it does not wait for the end
            for one in self._open.values():
                one.waiting = [waiting for waiting in one.waiting if waiting != item]
            self._open[item].before = 0
        self._open[item].end = (outcome, reused)
        self._settle(item)

    def _wait(self, parent: str, item: str) -> None:
        waiting = self._open.get(parent)
        if waiting is not None:
            waiting.before += 1
            self._open[item].waiting.append(parent)

    def _waits_for(self, item: str, other: str) -> bool:
        """Whether `item` waits for `other`, directly or through further
        items; both may be the same."""
        seen, look = {other}, [other]
        while look:
            found = look.pop()
            if found == item:
                return True
            further = {one for one in self._open[found].waiting if one not in seen}
            seen |= further
            look += further
        return False

    def _one_less(self, item: str) -> None:
        self._open[item].before -= 1
        self._settle(item)

    def _settle(self, item: str) -> None:
        """Report the item's end if nothing is left to wait for, and then the ends of items that
        waited for it."""
        look = [item]
        while look:
            one = look.pop(0)
            found = self._open.get(one)
            if found is None or found.end is None or found.before:
                continue
            del self._open[one]
            outcome, reused = found.end
            is_left = found.is_left or outcome is None
            self._tell(one, None if is_left else outcome, reused)
            for parent in found.waiting:
                waiting = self._open[parent]
                waiting.before -= 1
                waiting.is_left |= is_left
                look.append(parent)
