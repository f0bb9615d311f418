"""The rules of a pool's inbox: its room, and the order in which items come out.

Pure: nobody waits here. The model in `engine.bench.model` goes by them too.
"""

from collections import deque
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

    `ready` is first in, first out; held items come back at the front. `putters` and `unholders`
    wait to come in and to come back; a W represents one of them.
    """

    __slots__ = (
        "bound", "free_held", "held", "in_hand", "putters", "ready", "unholders", "workers",
    )  # fmt: skip

    def __init__(self, bound: int, workers: int, free_held: int = 0) -> None:
        self.bound = bound
        self.workers = workers
        self.free_held = free_held
        self.ready: deque[T] = deque()
        self.in_hand = 0
        self.held = 0
        self.putters: deque[W] = deque()
        self.unholders: deque[W] = deque()

    def has_room(self) -> bool:
        """Whether one more item may come in."""
        ready = len(self.ready)
        if ready >= self.bound:
            return False
        taken = ready + self.in_hand
        if self.held > self.free_held:
            taken += self.held - self.free_held
        return taken < self.bound + self.workers

    def has_room_to_return(self) -> bool:
        """Whether a held item, which counts already, may come back."""
        return len(self.ready) < self.bound

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
        self.ready.append(entry)

    def take(self) -> T:
        """A worker takes the next item in hand."""
        entry = self.ready.popleft()
        self.in_hand += 1
        return entry

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
        self.ready.appendleft(entry)

    def leave(self) -> None:
        """An item in hand leaves the pool."""
        self.in_hand -= 1

    def give_up(self) -> None:
        """One that was held leaves the pool."""
        self.held -= 1
