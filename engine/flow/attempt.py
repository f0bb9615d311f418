"""One attempt at one item in a pool, and what a pool asks of the run."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import anyio

from engine.contract.errors import StopRun
from engine.contract.item import Item
from engine.flow.journey import Journey
from engine.gates.hosts import Refusal
from engine.ledger.drafts import Draft
from engine.ledger.records import AttemptRow, End, Failure
from engine.telemetry.events import AttemptOutcome
from engine.workers.result import DONE, Items, Result


class Turn:
    """An entry that waited for its gate goes to it: `went_in` is the answer once `taken` is set.

    `slowed` is what the gate's `slowed` was when the entry began to wait for it.
    """

    def __init__(self, slowed: float) -> None:
        self.slowed = slowed
        self.taken = anyio.Event()
        self.went_in = False


@dataclass(slots=True, eq=False)
class Entry:
    """An item in a pool. `attempt` counts those that count."""

    journey: Journey
    attempt: int = 1
    begun: int = 0
    """How many attempts have begun, those that do not count included."""
    alone: bool = False
    """A batch with this item failed as a whole, so it is not put into another."""
    suspect: bool = False
    """A run may have died of it: it is tried with nothing else in hand, in a process if it can."""
    gate: str | None = None
    """The key of the gate that this item is inside of."""
    entered: int = 0
    """Its number among those that have gone into that gate."""
    refusal: Refusal | None = None
    """Its last refusal at a gate."""
    turned_away: int = 0
    """How often it was told to slow down where there is no gate to close."""
    held_for: float = 0.0
    """Seconds it has waited because it, or others before it, were told to slow down."""
    turn: Turn | None = None

    @property
    def item(self) -> Item:
        return self.journey.item


class Conclusion(NamedTuple):
    """How an attempt ended, as its pool tells the run.

    One of four: the stage has ended with the item, by `end`; or another attempt is to follow, after
    `delay` seconds; or the whole run has to stop, because of `stop`; or none of these: another
    attempt would follow, but the item is decided.
    """

    journey: Journey
    row: AttemptRow
    outcome: AttemptOutcome
    failure: Failure | None = None
    end: End | None = None
    delay: float | None = None
    stop: StopRun | None = None


class Hooks(Protocol):
    """What a pool asks of the run."""

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        """Have it recorded before long; returns what it is to be known by."""

    async def tried_alone(self, row: AttemptRow, alone: bool) -> None:
        """Have it recorded, before it goes on, whether nothing else is in hand meanwhile."""

    async def concluded(self, conclusion: Conclusion) -> None:
        """An attempt has ended: have it recorded; if its stage has, pass the item on."""

    async def expand(self, journey: Journey, produced: Items) -> int:
        """Feed the items that came out of this one; returns how many there were."""


@dataclass(slots=True)
class Attempt:
    """One attempt at one item: its row in the ledger, what it writes, and how it went.

    `seconds` is the service time, `gate` the key of the gate
    that it went through, and `pause` how long the item is to wait where it was turned away, by the
    gate `closed` if there is one, in seconds; `alone_for` as in `RetryPolicy.judge`.
    """

    entry: Entry
    row: AttemptRow
    draft: Draft
    gate: str | None
    seconds: float = 0.0
    pause: float = 0.0
    closed: str | None = None
    alone_for: float | None = None
    counts: bool = True
    """Whether it counts against the item, should another follow."""
    result: Result = DONE
