"""Pools by the rules of `engine.flow.inbox`, and the items in them."""

from collections.abc import Callable, Iterator

from engine.bench.model.journey import Following, ModelJourney
from engine.bench.model.pieces import Piece
from engine.bench.model.places import ModelPlace
from engine.bench.model.recorded import Service, Visit
from engine.flow.inbox import InboxState


class ModelEntry:
    """An item in a pool. It has had `tried` attempts, and its present state began at `since`.

    With an attempt, its worker is at the piece `service` of it, after which it hands over `part`;
    the next ones are `pieces`. After it, the worker does what the `task` says: it offers `offering`
    to other pools, of which `offers` have no room yet, and `then` does something else. So does the
    source, with an entry of `stage` -1, and what no worker waits for.
    """

    __slots__ = (
        "is_withdrawn", "journey", "offering", "offers", "part", "pieces", "place", "service",
        "since", "stage", "task", "then", "tried",
    )  # fmt: skip

    service: Service
    place: ModelPlace | None
    part: int | None
    pieces: Iterator[Piece]
    offering: ModelJourney
    task: Following
    then: "Callable[[ModelEntry], None]"

    def __init__(self, journey: ModelJourney, stage: int) -> None:
        self.journey = journey
        self.stage = stage
        self.tried = 0
        self.since = 0.0
        self.offers = 0
        self.is_withdrawn = False
        """It was held, and has left its pool."""

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
    of a worker of another pool. `away` are those that are held, by their items. `idle` of the
    `open` workers are idle; a negative `idle` is the number of busy workers that have to go.
    Workers are `busy` with an attempt, which may be `computing`, or `blocked` by a full successor.
    `ended` counts attempts."""

    __slots__ = ("away", "blocked", "busy", "computing", "ended", "idle", "most_held", "open")

    def __init__(self, bound: int, workers: int, free_held: int, *, of_parts: bool) -> None:
        super().__init__(bound, workers, free_held, _whole_of if of_parts else None)
        self.away: dict[ModelJourney, ModelEntry] = {}
        self.idle = 0
        self.ended = 0
        self.open, self.busy, self.computing, self.blocked = Tally(), Tally(), Tally(), Tally()
        self.most_held = 0

    def put(self, entry: ModelEntry) -> None:
        super().put(entry)
        self.most_held = max(self.most_held, self.ready + self.in_hand + self.held)

    def put_away(self, entry: ModelEntry) -> None:
        """The entry, in hand, is held outside the workers."""
        self.hold()
        self.away[entry.journey] = entry

    def unhold(self, entry: ModelEntry) -> None:
        super().unhold(entry)
        del self.away[entry.journey]

    def take_out(self, journey: ModelJourney) -> ModelEntry | None:
        """Take the item out, ready or held; returns its entry, if it was there."""
        held = self.away.pop(journey, None)
        if held is not None:
            held.is_withdrawn = True
            if held in self.unholders:
                self.unholders.remove(held)
            self.give_up()
            return held
        found: list[ModelEntry] = []

        def suits(entry: ModelEntry) -> bool:
            if entry.journey is journey:
                found.append(entry)
            return entry.journey is journey

        self.withdraw(suits)
        return found[0] if found else None

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


def _whole_of(entry: ModelEntry) -> str | None:
    return entry.journey.whole
