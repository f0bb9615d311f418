"""The events of a run, typed. Progress, log and report only listen to them."""

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
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
    """The source, or an item that is a list, gave this item to the run. `source` is as shown:
    without passwords and signatures."""

    item: str
    source: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class ItemEnded(Event):
    """The item has ended in the run, and the ledger has committed that. `reused`: earlier runs had
    done all of it.

    An item that holds others has ended when they have too: it comes after them, and not at all in
    a run that lets go of one of them.
    """

    item: str
    outcome: Literal["done", "dropped", "failed"]
    reused: bool


@dataclass(frozen=True, slots=True)
class ItemGivenUp(Event):
    """The item has left the run without an end, and the ledger has it as pending: nobody waits for
    it any more. It may enter again."""

    item: str


@dataclass(frozen=True, slots=True)
class ItemUnfinished(Event):
    """The item's steps have ended, but the pipeline's finish of it has not: its job is told as
    failed, for this reason. Given again, only the finish is tried again."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pruned(Event):
    """Items that had ended long ago are out of the work folder; `bytes` of outputs are deleted."""

    items: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PartEntered(Event):
    """The step `split` has made a part of the item `parent`, at `position`, or it goes on from an
    earlier run. `item` is the part's id."""

    item: str
    parent: str
    split: str
    position: int


@dataclass(frozen=True, slots=True)
class PartsExpected(Event):
    """The step `split` is at work on `item`, and expects to make `parts` parts of it in all: a
    hint."""

    item: str
    split: str
    parts: int


@dataclass(frozen=True, slots=True)
class SplitEnded(Event):
    """The step `split` has ended with `item`, and has made `parts` parts of it; not told where
    earlier runs had done all of them."""

    item: str
    split: str
    parts: int


@dataclass(frozen=True, slots=True)
class PartEnded(Event):
    """A part has ended at all steps of its level, and the ledger has committed that. Its outputs
    are in `folder`, one folder a step. It is "abandoned" where it goes no further because its item
    has failed or was dropped. `reused`: earlier runs had done all of it."""

    item: str
    parent: str
    split: str
    position: int
    outcome: Literal["done", "dropped", "failed", "abandoned"]
    folder: str
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

    `seconds` is the service time. `delay` is the number of seconds until the next attempt, at the
    soonest; None where there is none. `paid` are the requests that paid servers answered, in a
    batch an equal share of them. `kind` and `reason` are None for done, unless the stage was
    skipped: done, rightly without an output.
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
    delay: float | None = None
    paid: float = 0.0


@dataclass(frozen=True, slots=True)
class GateClosed(Event):
    """A host asked for fewer requests: nothing goes to `key` for `seconds`."""

    key: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class DiskLow(Event):
    """Free space is under the watermark: nothing is taken from the source
    until it is above again."""

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
class StepOpened(Event):
    """The step's first worker is ready: what its stage loads as it opens is loaded."""

    stage: str


@dataclass(frozen=True, slots=True)
class WorkerReplaced(Event):
    stage: str
    worker: int
    why: str


@dataclass(frozen=True, slots=True)
class RoomMade(Event):
    """The disk was too full for the ledger, so leftovers of killed runs
    were deleted. `freed` is in bytes."""

    freed: int


@dataclass(frozen=True, slots=True)
class Repaired(Event):
    """The ledger and the folders disagreed after a crash; this says what was repaired."""

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
    """`listener` raised, which is a bug in the listener: the run goes on. Emitted once for each
    listener, to all others."""

    listener: str
    reason: str
    traceback: str


Listener = Callable[[Event], None]
"""Called with each event; `Events` says when, in which thread, and what it may do."""


@dataclass(slots=True)
class Events:
    """Hands every event to every listener, in the order in which they subscribed.

    Listeners are called one after the other, by the code that emits, always on the thread of the
    run's event loop: nothing else happens in the run until they have returned, and the events of
    one item come in the order in which they happened.

    So a listener has to return at once. It may keep the event, and read the run's `snapshot`. It
    may not block (no network, no lock that another thread holds for long), subscribe others, or
    call back into the run, except to drain it or to resize a pool. An event that such a call emits
    is delivered at once: later subscribers receive it before the event at hand.

    A listener that raises an Exception ends neither the run nor the delivery to the others. It
    still receives the events that follow, so a view that cannot show one event shows the next. Its
    first error is logged as a warning, with its traceback, and goes to the others as
    ListenerFailed; its later errors are logged for debugging. A BaseException that is no Exception,
    such as KeyboardInterrupt or a cancellation, propagates.
    """

    listeners: list[Listener] = field(default_factory=list)
    _failed: list[object] = field(default_factory=list)

    def subscribe(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Hand `event` to every listener. Raises no Exception."""
        self._tell(event, self.listeners)

    def failed(self, listener: object, error: Exception) -> None:
        """Report once that `listener`, or its part that runs beside the run, raised `error`."""
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
        for failing, why in errors:  # after all have received the event itself
            self.failed(failing, why)


def ended_parts(on_part: Callable[[PartEnded], object]) -> Listener:
    """A listener that calls `on_part` with each part that has ended."""

    @wraps(on_part)
    def listen(event: Event) -> None:
        if isinstance(event, PartEnded):
            on_part(event)

    return listen


def _name(listener: object) -> str:
    """The name of the listener's function or class."""
    return str(getattr(listener, "__qualname__", type(listener).__qualname__))
