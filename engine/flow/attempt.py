"""One attempt at one item in a pool, and the pool's hooks into the run."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import anyio

from engine.contract.errors import StopRun
from engine.contract.item import Item
from engine.flow.journey import Journey
from engine.gates.hosts import Refusal
from engine.ledger.outputs.drafts import Draft, Handing
from engine.ledger.records import AttemptRow, End, Failure
from engine.telemetry.events import AttemptOutcome
from engine.workers.result import DONE, Items, Result


class Turn:
    """An entry that waited for its gate gets its turn: `went_in` is the answer once `taken` is set.

    `slowed` is the gate's `slowed` at the time when the entry began to wait.
    """

    def __init__(self, slowed: float) -> None:
        self.slowed = slowed
        self.taken = anyio.Event()
        self.went_in = False


@dataclass(slots=True)
class Stay:
    """What is inside the gate `key` as one: an entry, or those of a batch that share it. `number`
    is its own among all who have gone in, `size` how many went in, and `inside` how many are."""

    key: str
    number: int
    size: int = 1
    inside: int = 1


@dataclass(slots=True, eq=False)
class Entry:
    """An item in a pool. `attempt` is the number of the attempt; those that do not count are left
    out."""

    journey: Journey
    attempt: int = 1
    begun: int = 0
    """The number of attempts that have begun, including those that do not count."""
    alone: bool = False
    """A batch with this item failed as a whole, so the item gets no batch any more."""
    suspect: bool = False
    """It may have killed a run: it is tried with nothing else in hand, in a process if possible."""
    stay: Stay | None = None
    """Its stay inside a gate, if it is inside one."""
    refusal: Refusal | None = None
    """Its last refusal at a gate."""
    turned_away: int = 0
    """The number of times that it was told to slow down without a gate to close."""
    held_for: float = 0.0
    """Seconds that it has waited because it, or items before it, were told to slow down."""
    turn: Turn | None = None

    @property
    def item(self) -> Item:
        return self.journey.item

    @property
    def gate(self) -> str | None:
        """The key of the gate that it is inside of."""
        return self.stay.key if self.stay is not None else None


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
    """The calls of a pool to its run."""

    def attempt_started(self, item: Item, stage: str, worker: int, attempt: int) -> AttemptRow:
        """Have the attempt recorded soon; returns its row."""

    async def tried_alone(self, row: AttemptRow) -> None:
        """Record, before the attempt goes on, that nothing else is in hand meanwhile."""

    async def concluded(self, conclusion: Conclusion) -> None:
        """An attempt has ended: have it recorded; if its stage has ended too, pass the item on."""

    async def splitting(self, journey: Journey, step: str, fingerprint: str) -> Handing:
        """An attempt begins that makes parts of the item, for an output of this fingerprint."""

    async def expand(self, journey: Journey, produced: Items) -> int:
        """Feed the items that this one produced; returns their number."""


@dataclass(slots=True)
class Attempt:
    """One attempt at one item: its row in the ledger, its draft, and its result.

    `seconds` is the service time, `paid` the number of its paid requests, `gate` the key of the
    gate that it went through. If the item was turned away, `pause` is its wait in seconds, and
    `closed` the gate that turned it away, if there is one; `alone_for` is that of
    `RetryPolicy.judge`.
    """

    entry: Entry
    row: AttemptRow
    draft: Draft
    gate: str | None
    seconds: float = 0.0
    paid: float = 0.0
    pause: float = 0.0
    closed: str | None = None
    alone_for: float | None = None
    counts: bool = True
    """Whether the attempt counts against the item, if another follows."""
    result: Result = DONE
