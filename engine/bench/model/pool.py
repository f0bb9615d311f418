"""Pools by the rules of `engine.flow.inbox`, and the items in them."""

from collections.abc import Mapping, Sequence

from engine.bench.model.recorded import RecordedItem, Visit
from engine.flow.inbox import InboxState


class ModelItem:
    """A recorded item in the form that the model needs: its visits by the
    stage's number, and as bits."""

    __slots__ = ("item", "mask", "visits")

    def __init__(self, item: RecordedItem, numbers: Mapping[str, int]) -> None:
        self.item = item.id
        self.visits: list[Visit | None] = [None] * len(numbers)
        self.mask = 0
        for stage, visit in item.visits.items():
            self.visits[numbers[stage]] = visit
            self.mask |= 1 << numbers[stage]


class ModelJourney:
    """One item under way. `ended`: the stages that have ended it, as bits."""

    __slots__ = ("ended", "plan")

    def __init__(self, plan: ModelItem) -> None:
        self.plan = plan
        self.ended = 0


class ModelEntry:
    """An item in a pool. It has had `tried` attempts, and its present state began at `since`. Done
    there, it goes `to` these pools; `offers` of them have no room yet. An entry of `stage` -1 comes
    from the source."""

    __slots__ = ("journey", "offers", "since", "stage", "to", "tried")

    def __init__(self, journey: ModelJourney, stage: int, to: Sequence[int] = ()) -> None:
        self.journey = journey
        self.stage = stage
        self.tried = 0
        self.since = 0.0
        self.to = to
        self.offers = 0

    @property
    def visit(self) -> Visit:
        visit = self.journey.plan.visits[self.stage]
        assert visit is not None
        return visit


class Tally:
    """The number of workers in some state now, and the seconds that all of them spent in it."""

    __slots__ = ("_seconds", "count")

    def __init__(self) -> None:
        self.count = 0
        self._seconds = 0.0

    def begin(self, now: float) -> None:
        self.count += 1
        self._seconds -= now

    def end(self, now: float, many: int = 1) -> None:
        self.count -= many
        self._seconds += many * now

    def seconds(self, now: float) -> float:
        """The sum of seconds until now, including those still in the state."""
        return self._seconds + self.count * now


class ModelPool(InboxState[ModelEntry, ModelEntry]):
    """An inbox and its workers. `putters` are entries that wait for room here; each is in the hand
    of a worker of another pool. `idle` of the `open` workers are idle; a negative `idle` is the
    number of busy workers that have to go. Workers are `busy` with an attempt, which may be
    `computing`, or `blocked` by a full successor. `ended` counts attempts."""

    __slots__ = ("blocked", "busy", "computing", "ended", "idle", "most_held", "open")

    def __init__(self, bound: int, workers: int, free_held: int) -> None:
        super().__init__(bound, workers, free_held)
        self.idle = 0
        self.ended = 0
        self.open, self.busy, self.computing, self.blocked = Tally(), Tally(), Tally(), Tally()
        self.most_held = 0

    def put(self, entry: ModelEntry) -> None:
        super().put(entry)
        self.most_held = max(self.most_held, self.ready + self.in_hand + self.held)

    def open_one(self, now: float) -> None:
        """A worker has opened; it counts if the pool still wants it."""
        if self.open.count < self.workers:
            self.open.begin(now)
            self.idle += 1

    def let_go(self, now: float) -> None:
        """Let surplus workers go: idle ones at once, busy ones when they have finished."""
        many = self.open.count - self.workers
        if many > 0:
            self.open.end(now, many)
            self.idle -= many
