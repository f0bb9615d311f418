"""The rules of a pool's inbox: its room, and the order in which items come out.

Pure: nobody waits here. The model in `engine.bench.model` goes by them too.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
W = TypeVar("W")


class InboxState(Generic[T, W]):
    """The rules of an inbox, without any waiting: its items, its room, and the order of entry.

    An item belongs to the pool from `put` until `leave`, also while a worker has it in hand or it
    is held, and a pool holds at most `bound + workers` items, of which `bound` are ready: so a
    stage whose items all wait for a retry holds back the stages before it, as a slow one does.
    `free_held` items may be held beyond that, for a stage whose waiting items occupy nothing but
    their ids.

    The `ready` ones take turns by whole item, as in Nagle's round robin (RFC 970): `whole_of` tells
    which one an item is a part of, None for one that is whole itself. `turns` has the next of each
    whole item, in the order in which they are taken, and `behind` has those behind it. When one is
    taken, the next of the same gets the last turn. So parts of one stay in order, whole items are
    first in, first out, and a short item waits for at most one part of each long one. A long one
    waits for no more than are ready when its turn has passed, however many short ones come after.
    (With rounds numbered at entry, as in start-time fair queueing, each of those would be in the
    current round, before its second part.) Held items come back at the front, out of turn.

    Those of a higher priority go first: `turns` has those of the highest that are ready, which is
    `priority`; `lower` has the turns of the others, by priority. So where all are of one, there is
    one line. A part follows the one before it in the line where that stood.

    `putters` and `unholders` wait to come in and to come back, first in, first out; a W represents
    one of them. Each worker puts in one item at a time, so a long item has no more parts in line
    than it has workers, and a short one there waits for few.
    """

    __slots__ = (
        "_priority_of", "_whole_of", "behind", "bound", "free_held", "held", "in_hand", "lower",
        "priority", "putters", "ready", "turns", "unholders", "workers",
    )  # fmt: skip

    def __init__(
        self,
        bound: int,
        workers: int,
        free_held: int = 0,
        whole_of: Callable[[T], str | None] | None = None,
        priority_of: Callable[[T], int] | None = None,
    ) -> None:
        self.bound = bound
        self.workers = workers
        self.free_held = free_held
        self._whole_of = whole_of
        self._priority_of = priority_of
        self.ready = 0
        self.priority = 0
        self.turns: deque[tuple[T, str | None]] = deque()
        self.lower: dict[int, deque[tuple[T, str | None]]] = {}
        self.behind: dict[str, deque[T]] = {}
        self.in_hand = 0
        self.held = 0
        self.putters: deque[W] = deque()
        self.unholders: deque[W] = deque()

    def has_room(self) -> bool:
        """Whether one more item may come in."""
        ready = self.ready
        if ready >= self.bound:
            return False
        taken = ready + self.in_hand
        if self.held > self.free_held:
            taken += self.held - self.free_held
        return taken < self.bound + self.workers

    def has_room_to_return(self) -> bool:
        """Whether a held item, which counts already, may come back."""
        return self.ready < self.bound

    def admits(self) -> bool:
        """Whether a new item may come in at once: there is room, and no other waits for it."""
        return not self.putters and not self.unholders and self.has_room()

    def readmits(self) -> bool:
        """Whether a held item may come back at once."""
        return not self.unholders and self.has_room_to_return()

    def next_line(self) -> deque[W] | None:
        """The line whose first may come in now: returning items go before new ones."""
        if self.unholders and self.has_room_to_return():
            return self.unholders
        if self.putters and self.has_room():
            return self.putters
        return None

    def put(self, entry: T) -> None:
        """A new item comes in."""
        self.ready += 1
        whole = self._whole_of(entry) if self._whole_of is not None else None
        if whole is None:
            self._line_of(entry).append((entry, None))
        elif whole in self.behind:
            self.behind[whole].append(entry)
        else:
            self.behind[whole] = deque()
            self._line_of(entry).append((entry, whole))

    def priority_of(self, entry: T) -> int:
        return self._priority_of(entry) if self._priority_of is not None else 0

    def _line_of(self, entry: T) -> deque[tuple[T, str | None]]:
        """The turns of those that have the priority of this one, which is about to join them."""
        priority = self.priority_of(entry)
        if priority == self.priority:
            return self.turns
        if priority < self.priority and self.turns:
            return self.lower.setdefault(priority, deque())
        if self.turns:
            self.lower[self.priority] = self.turns
        self.priority, self.turns = priority, deque()
        return self.turns

    def _let_lower_ones(self) -> None:
        """None of the highest priority is ready any more: the next lower one has its turns."""
        if self.lower:
            self.priority = max(self.lower)
            self.turns = self.lower.pop(self.priority)

    def next(self) -> T:
        """The item that `take` would take."""
        return self.turns[0][0]

    def take(self) -> T:
        """A worker takes the next item in hand."""
        entry, whole = self.turns.popleft()
        self.ready -= 1
        self.in_hand += 1
        if whole is not None:
            self._let_follow(whole, self.turns)
        if not self.turns:
            self._let_lower_ones()
        return entry

    def withdraw(self, suits: Callable[[T], bool]) -> None:
        """Take out the ready items that suit. Where the next of a whole item goes, the one behind
        it has its turn."""
        self.behind = {
            whole: deque(entry for entry in behind if not suits(entry))
            for whole, behind in self.behind.items()
        }
        lines = {self.priority: self.turns, **self.lower}
        self.lower = {priority: self._without(suits, line) for priority, line in lines.items()}
        self.lower = {priority: line for priority, line in self.lower.items() if line}
        self.turns = deque()
        self.ready = sum(map(len, self.lower.values())) + sum(map(len, self.behind.values()))
        self._let_lower_ones()

    def _without(
        self, suits: Callable[[T], bool], line: deque[tuple[T, str | None]]
    ) -> deque[tuple[T, str | None]]:
        left: deque[tuple[T, str | None]] = deque()
        for entry, whole in line:
            if not suits(entry):
                left.append((entry, whole))
            elif whole is not None:
                self._let_follow(whole, left)
        return left

    def _let_follow(self, whole: str, line: deque[tuple[T, str | None]]) -> None:
        """The next part of this whole item, if one is ready, gets the last turn in the line."""
        behind = self.behind[whole]
        if behind:
            line.append((behind.popleft(), whole))
        else:
            del self.behind[whole]

    def hold(self) -> None:
        """An item in hand is held outside the workers."""
        self.in_hand -= 1
        self.held += 1

    def recall(self) -> None:
        """One that was held goes into a worker's hand at once."""
        self.held -= 1
        self.in_hand += 1

    def unhold(self, entry: T) -> None:
        """A held item comes back."""
        self.held -= 1
        self.ready += 1
        self._line_of(entry).appendleft((entry, None))

    def leave(self) -> None:
        """An item in hand leaves the pool."""
        self.in_hand -= 1

    def give_up(self) -> None:
        """One that was held leaves the pool."""
        self.held -= 1
