"""What happened, as typed events. Progress, log and report only listen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

AttemptOutcome = Literal["done", "dropped", "failed", "retried", "throttled", "interrupted"]


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    run: int
    pipeline: str
    workdir: str


@dataclass(frozen=True, slots=True)
class ItemEntered(Event):
    """The source, or an item that held others, gave this item to the run. `source` is as shown:
    without passwords and signatures."""

    item: str
    source: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class ItemEnded(Event):
    """No stage has anything left to do with the item. `reused`: earlier runs had done it all."""

    item: str
    outcome: Literal["done", "dropped", "failed"]
    reused: bool


@dataclass(frozen=True, slots=True)
class SourceEnded(Event):
    """The source is dry: `items` have entered, and only expansions can add more."""

    items: int


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    item: str
    stage: str
    worker: int
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """`outcome` is how the attempt ended; `final` says whether the stage has ended with the item.

    `seconds` is the service time. `kind` and `reason` are None for done.
    """

    item: str
    stage: str
    worker: int
    attempt: int
    outcome: AttemptOutcome
    final: bool
    seconds: float
    kind: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class GateClosed(Event):
    """A host asked us to slow down; nothing goes to `key` for `seconds`."""

    key: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class DiskLow(Event):
    """Free space is under the watermark: nothing new is taken from the source until it is not."""

    free: int
    watermark: int


@dataclass(frozen=True, slots=True)
class DiskRecovered(Event):
    free: int


@dataclass(frozen=True, slots=True)
class PoolResized(Event):
    stage: str
    before: int
    after: int
    why: str


@dataclass(frozen=True, slots=True)
class WorkerReplaced(Event):
    stage: str
    worker: int
    why: str


@dataclass(frozen=True, slots=True)
class RoomMade(Event):
    """The disk was too full for the ledger, so what killed runs had left was deleted. `freed` is in
    bytes."""

    freed: int


@dataclass(frozen=True, slots=True)
class Repaired(Event):
    """The ledger and the folders disagreed after a crash; this is what was done about it."""

    item: str
    stage: str
    what: str


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """The run takes nothing new. `why` is one line for a person."""

    why: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    run: int
    outcome: str
    seconds: float


Listener = Callable[[Event], None]


@dataclass(slots=True)
class Events:
    """Hands every event to every listener, in the order they subscribed, on the event loop."""

    listeners: list[Listener] = field(default_factory=list)

    def subscribe(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
