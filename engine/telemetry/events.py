"""What happened, as typed events. Progress, log and report only listen."""

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger("penstock.engine")

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


@dataclass(frozen=True, slots=True)
class ListenerFailed(Event):
    """`listener` raised, which is a bug of its own: the run goes on. Told of each listener once, to
    all others."""

    listener: str
    reason: str
    traceback: str


Listener = Callable[[Event], None]
"""Is told what happened; see `Events` for when, where, and what it may do."""


@dataclass(slots=True)
class Events:
    """Hands every event to every listener, in the order they subscribed.

    Listeners are called one after the other, by whoever emits, which is always on the thread of the
    run's event loop: nothing else happens in the run until they have returned, and the events of
    one item come in the order in which they happened.

    So a listener has to return at once. It may keep what it is told, and read the run's `snapshot`.
    It may not block (no network, no lock that another thread holds for long), subscribe others, or
    call back into the run, except to drain it or to resize a pool. What that emits is told at once:
    those who subscribed later hear of it before they hear of the event at hand.

    A listener that raises an Exception ends neither the run nor what the others are told. It is
    told of the events that follow, so that a view which cannot show one thing shows the next. Its
    first error is logged as a warning, with its traceback, and told to the others as
    ListenerFailed; the later ones are logged for debugging. What is no Exception, such as
    KeyboardInterrupt and a cancellation, is raised.
    """

    listeners: list[Listener] = field(default_factory=list)
    _failed: list[object] = field(default_factory=list)

    def subscribe(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Tell every listener. No Exception is raised."""
        self._tell(event, self.listeners)

    def failed(self, listener: object, error: Exception) -> None:
        """`listener`, or what of it works beside the run, has raised `error`: say so, once."""
        name = _name(listener)
        if listener in self._failed:
            log.debug("%s failed again", name, exc_info=error)
            return
        self._failed.append(listener)
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        log.warning("%s failed, and the run goes on: %s", name, reason, exc_info=error)
        told = ListenerFailed(name, reason, "".join(traceback.format_exception(error)))
        self._tell(told, [other for other in self.listeners if other != listener])

    def _tell(self, event: Event, listeners: Sequence[Listener]) -> None:
        errors: tuple[tuple[Listener, Exception], ...] = ()
        for listener in listeners:
            try:
                listener(event)
            except Exception as error:
                errors += ((listener, error),)
        for failing, why in errors:  # once all have heard of the event itself
            self.failed(failing, why)


def _name(listener: object) -> str:
    """Its function's or class's name."""
    return str(getattr(listener, "__qualname__", type(listener).__qualname__))
