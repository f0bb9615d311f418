"""Pools by the rules of `engine.flow.inbox`, and what is in them."""

from collections.abc import Mapping, Sequence

from engine.bench.model.recorded import RecordedItem, Visit
from engine.flow.inbox import InboxState


class Plan:
    """A recorded item as the model needs it: its visits by the stage's number, and as bits."""

    __slots__ = ("item", "mask", "visits")

    def __init__(self, item: RecordedItem, numbers: Mapping[str, int]) -> None:
        self.item = item.id
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


class Pool(InboxState[Entry, Entry]):
    """An inbox and its workers, of which `idle` wait for an item. `putters` are what waits for room
    here, in the hand of a worker of another pool; `busy` and `blocked` are seconds of workers."""

    __slots__ = ("blocked", "busy", "idle", "most_held")

    def __init__(self, bound: int, workers: int, free_held: int) -> None:
        super().__init__(bound, workers, free_held)
        self.idle = 0
        self.busy = 0.0
        self.blocked = 0.0
        self.most_held = 0

    def put(self, entry: Entry) -> None:
        super().put(entry)
        self.most_held = max(self.most_held, len(self.ready) + self.in_hand + self.held)
