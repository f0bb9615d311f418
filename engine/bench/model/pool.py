"""Pools and what is in them, as `engine.pool` and `engine.inbox` have them, without waiting."""

from collections import deque
from collections.abc import Mapping, Sequence

from engine.bench.recorded import RecordedItem, Visit


class Plan:
    """A recorded item as the model needs it: its visits by the stage's number, and as bits."""

    __slots__ = ("mask", "visits")

    def __init__(self, item: RecordedItem, numbers: Mapping[str, int]) -> None:
        self.visits: list[Visit | None] = [None] * len(numbers)
        self.mask = 0
        for stage, visit in item.visits.items():
            self.visits[numbers[stage]] = visit
            self.mask |= 1 << numbers[stage]


class Journey:
    """One item under way. `ended`: the stages that have ended with it, as bits."""

    __slots__ = ("ended", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ended = 0


class Entry:
    """An item in a pool. `tried` attempts are behind it, and `since` is when what it does began;
    `to` are the pools that it still has to be put into. The source feeds with one of `stage` -1."""

    __slots__ = ("journey", "since", "stage", "to", "tried")

    def __init__(self, journey: Journey, stage: int, to: Sequence[int] = ()) -> None:
        self.journey = journey
        self.stage = stage
        self.tried = 0
        self.since = 0.0
        self.to = to

    @property
    def visit(self) -> Visit:
        visit = self.journey.plan.visits[self.stage]
        assert visit is not None
        return visit


class Pool:
    """A bounded inbox and its workers. `putters` wait for room in it, and `unparkers`, whose retry
    is due or whose gate has opened, to be next. `busy` and `blocked` are seconds of its workers."""

    __slots__ = (
        "blocked", "bound", "busy", "free_parked", "idle", "in_hand", "most_held", "parked",
        "putters", "ready", "unparkers", "workers",
    )  # fmt: skip

    def __init__(self, bound: int, workers: int, free_parked: int) -> None:
        """Of those parked, `free_parked` take no room."""
        self.bound = bound
        self.workers = workers
        self.free_parked = free_parked
        self.ready: deque[Entry] = deque()
        self.putters: deque[Entry] = deque()
        self.unparkers: deque[Entry] = deque()
        self.idle = 0
        self.in_hand = 0
        self.parked = 0
        self.busy = 0.0
        self.blocked = 0.0
        self.most_held = 0

    def has_room(self) -> bool:
        held = len(self.ready) + self.in_hand + max(0, self.parked - self.free_parked)
        return len(self.ready) < self.bound and held < self.bound + self.workers

    def put(self, entry: Entry) -> None:
        self.ready.append(entry)
        self.most_held = max(self.most_held, len(self.ready) + self.in_hand + self.parked)

    def unpark(self) -> bool:
        """Whether the first of those that wait to be next is it now."""
        if not self.unparkers or len(self.ready) >= self.bound:
            return False
        self.parked -= 1
        self.ready.appendleft(self.unparkers.popleft())
        return True

    def take_in_hand(self) -> None:
        self.idle -= 1
        self.in_hand += 1

    def leave_hand(self) -> None:
        self.in_hand -= 1
        self.idle += 1
