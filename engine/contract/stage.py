"""`Stage`: the contract of a stage, and the options that every stage has."""

import inspect
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
)

from engine.contract.deadline import check_deadlines
from engine.contract.errors import Ending, PenstockError
from engine.contract.item import Item
from engine.contract.item_options import PER_ITEM, with_options
from engine.contract.parts import Parts

_SIZE = TypeAdapter(ByteSize)


def _bytes(value: Any) -> Any:
    """A size in words as a number of bytes; anything else as it is."""
    return float(_SIZE.validate_python(value)) if isinstance(value, str) else value


Amount = Annotated[float, Field(ge=0), BeforeValidator(_bytes)]
"""A number, or bytes as "2 GB"."""

Share = Annotated[float, Field(gt=0, lt=1)]


def setting(
    default: Any,
    description: str,
    *,
    affects_output: bool = True,
    in_ingredients: bool = False,
    needs_trust: bool = False,
    per_item: bool = False,
    example: Any = None,
    **bounds: Any,
) -> Any:
    """One setting: its default, a one-line description, and bounds such as `gt=0`.

    The description stands in config.toml. `affects_output=False` is for a setting that changes how
    the work is done but not the output (a proxy, a device, a deadline): changing it redoes nothing.
    `in_ingredients=True` is for one that shapes only the answer of `find_ingredients`: changing it
    redoes the stage where the answer changes. `needs_trust=True` is for a setting that chooses
    which code runs, or where data and keys go: it is not taken from the ledger of a work folder
    that somebody else made. `per_item=True` is for one that the stage reads from `settings_for`: an
    item's job may give its own value. `example` stands in config.toml, commented out, where the
    setting is unset by default.
    """
    if callable(default):
        bounds["default_factory"] = default
    else:
        bounds["default"] = default
    if example is not None:
        bounds["examples"] = [example]
    return Field(
        description=description,
        json_schema_extra={
            "affects_output": affects_output and not in_ingredients,
            "in_ingredients": in_ingredients,
            "needs_trust": needs_trust,
            PER_ITEM: per_item,
        },
        **bounds,
    )


class Settings(BaseModel):
    """The base of every settings class: unknown keys are errors, and defaults are checked too."""

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True)


class StageOptions(Settings):
    """The options that every step has: in [defaults] for all, in [stages.NAME] for one."""

    workers: PositiveInt | Literal["auto"] = Field(
        1, description='Workers of this stage: a number, or "auto".'
    )
    queue: PositiveInt = Field(
        8, description="Items that may wait for this stage; a full queue holds back what is before."
    )
    attempts: PositiveInt = Field(3, description="Attempts at an item before it fails.")
    timeout: float = Field(
        3600.0, gt=0, description="Seconds that one attempt may take before it is given up."
    )
    patience: float = Field(
        21600.0, ge=0, description="Seconds an item may be held by throttling before it fails."
    )
    batch: PositiveInt = Field(1, description="Waiting items handed to a worker together, at most.")
    linger: float = Field(
        0.0,
        ge=0,
        description="Seconds a batch may wait to fill, once it has its first item.",
    )
    placement: Literal["thread", "process", "ray"] = Field(
        "thread",
        description='Where the work runs: "thread", "process", or "ray": processes on a cluster.',
    )
    resources: dict[str, Amount] = Field(
        {"CPU": 1},
        description='What a worker takes of its node, with placement = "ray": CPU, GPU, memory.',
        examples=[{"CPU": 1, "GPU": 1, "memory": "2 GB"}],
    )
    optional: bool = Field(
        False, description="Whether an item goes on without this stage's output when it fails."
    )
    reread: bool = Field(
        False,
        description="Whether lists that an earlier run read to the end are read again, for what "
        "they have gained.",
    )
    keep: bool = Field(
        True, description="false: delete the output once every stage that reads it has committed."
    )
    most_failed: NonNegativeInt | Share = Field(
        0,
        description="Parts that may fail before their item does, of a stage that splits: a number, "
        "or a share under 1.",
    )


class Cancelled(PenstockError):
    """This attempt is no longer wanted. Raised by `checkpoint`; let it pass through."""


class Cancellation:
    """Tells the code of one attempt, in its own thread, that the attempt was given up.

    Either the attempt is given up or it ends: the first call decides.
    """

    def __init__(self) -> None:
        self.requested = False
        self._ended = False
        self._lock = threading.Lock()

    def request(self) -> bool:
        """Give the attempt up; false if it has ended before."""
        with self._lock:
            self.requested |= not self._ended
            return self.requested

    def end(self) -> bool:
        """The stage's code has ended; returns whether its result is still wanted."""
        with self._lock:
            self._ended |= not self.requested
            return self._ended


current_attempt: ContextVar[Cancellation | None] = ContextVar("current_attempt", default=None)


def checkpoint() -> None:
    """Call this in long loops of a `def process`. It raises Cancelled once the attempt's time is up
    or the run is being cancelled, and the error of a `deadline` that has passed. A thread cannot be
    killed, so this is how it stops early."""
    attempt = current_attempt.get()
    if attempt is not None and attempt.requested:
        raise Cancelled("the attempt was given up")
    check_deadlines()


class Stage:
    """One kind of work on one item.

    Subclass it, give it `Settings`, and write `process`:

    - `def process(self, item, out)` runs off the event loop. Every worker has an instance of its
      own, which only ever runs in that worker's thread or process; `open` loads its resources.
    - `async def process(self, item, out)` runs on the event loop. The workers of the pool share one
      instance, opened once: its limits hold for the whole pool.

    `process` reads `item.input(role)` for the roles that the class names in `inputs`, writes into
    `out` (an empty scratch folder) and returns; the engine then makes `out` its output. So it names
    no other stage: the pipeline decides which steps' outputs it reads. To end otherwise it raises
    Drop, Permanent, Transient or Throttled. It may return an iterable of new items, which enter the
    pipeline as if they had come from its source; the item that returned them is done and goes no
    further. The iterable is read lazily, off the event loop and outside any worker, and `out` is
    committed when it ends. A `def process` may yield them; an `async def` may not.

    A stage that splits its item into parts has `split` instead of `process`.
    """

    name: str
    """The stage's name, by default the class's in lower case. A step has it in the pipeline, in
    config.toml and on disk, unless the step has a name of its own; then that step's instances have
    the step's name."""

    inputs: ClassVar[str | Sequence[str]] = ()
    """The roles of the inputs that the stage reads: "pages", or ("pages", "notes")."""

    optional_inputs: ClassVar[str | Sequence[str]] = ()
    """The roles of inputs that a pipeline may leave unbound; `item.has_input(role)` says whether
    one is there."""

    version: ClassVar[int] = 1
    """Raise it when the same settings give another output: finished outputs are then redone."""

    max_workers: ClassVar[int | None] = None
    """The largest useful number of workers, for a stage that owns a device such as a GPU. It is one
    of this machine: on a cluster each worker has what it needs for itself."""

    defaults: ClassVar[dict[str, Any]] = {}
    """This stage's own defaults for StageOptions, such as {"workers": 4}."""

    variables: ClassVar[Mapping[str, str]] = {}
    """Environment variables, beside those that every setting has, that set an option or a setting
    of this stage: {"FETCH_MAX_WORKERS": "workers"}."""

    unrecorded: ClassVar[Mapping[str, Any]] = {}
    """What is known of the ingredients of outputs that were made before the stage had an answer to
    `find_ingredients`, such as the one library that it then had."""

    item_failures: ClassVar[Collection[str]] = ()
    """The kinds of failure that concern one item only (it was removed, it is damaged). They tell
    nothing about other items, so they do not count against the failure budget."""

    keeps_inputs: ClassVar[bool] = False
    """Whether an output that only such stages read is a result: made again where it is gone."""

    class Settings(Settings):
        """No settings."""

    settings: BaseModel
    workdir: Path

    ingredients: Mapping[str, Any] | None = None
    """The answer of `find_ingredients` in this run; None where nobody asked, as without a run."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def __init__(self, settings: BaseModel, workdir: Path) -> None:
        self.settings = settings
        self.workdir = workdir

    def settings_for(self, item: Item) -> Any:
        """The settings with the values in their places that the item's job gave for those made with
        `per_item`; of the class of `settings`."""
        return with_options(self.settings, self.name, item.options)

    def open(self) -> Any:
        """Called once per instance, where it will run, before the first item. May be async in an
        async stage. An error here stops the run: PenstockError with its message alone."""

    def process(self, item: Item, out: Path) -> Any:
        """Work on one item; see the class."""
        raise NotImplementedError(f"stage {self.name!r} has no process()")

    def split(self, item: Item, out: Path, parts: Parts) -> Any:
        """Split one item into parts, and hand them over one by one: see `Parts`. Takes the place of
        `process`, and may be async like that. `out` becomes the whole item's own output."""
        raise NotImplementedError(f"stage {self.name!r} has no split()")

    def judge(self, outputs: Iterator[Path]) -> None:
        """Judge an item by what all of its parts came to at this step, which stands at its parts:
        raise Drop or Permanent to end the item here, before anything gathers the parts.

        Called once all parts have ended here, in a thread, of an instance that is not open.
        `outputs` are the output folders of the parts that ended well, in order.
        """

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        """Work on several items; one answer for each, in order: None for done, or its ending.

        Called when `batch` is over 1. An exception is blamed on no single item: each of them is
        attempted again, alone.
        """
        raise NotImplementedError(f"stage {self.name!r} has no process_batch()")

    def close(self) -> Any:
        """Called once, where `open` was, when no more items come."""

    def gate(self, item: Item) -> str | None:
        """What to hold back when the other side says slow down, usually a host; None for nothing.

        Items with the same key share `limits.rate` and `limits.concurrency`, or what `limits.keys`
        has for it, whatever the workers.
        """
        return None

    def needs(self) -> Mapping[str, int]:
        """What its workers need for the time of an attempt, or of a batch, and share with other
        steps: a name and an amount for each, such as {"cuda:0": 1}.

        The step takes all of it, once however many of its workers are at an attempt, as with one
        model that they all feed (`borrow`), and gives it back when none is. Steps that together
        need more than there is (1, unless `limits.resources` says otherwise) take turns. Asked once
        before the run, of an instance that is not open. Which gate an item goes through is another
        matter: see `gate`.
        """
        return {}

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What shapes the output beside the settings and the inputs, JSON-able and a part of the
        fingerprint: the hash of a file that a setting names, a library that was chosen. {} for
        nothing.

        Asked once before the run, off the event loop, of an instance that is not open; every
        instance of the run then has the answer as its `ingredients`. `earlier` is the answer of the
        last run, so that the stage may stay with a choice: None where this work folder holds no end
        of the step, `unrecorded` where what it holds was made before the stage's first answer. That
        counts as made from the first answer, apart from what `unrecorded` knows better. Raises
        PenstockError.
        """
        return {}

    def has_expired(self, output: Path) -> bool:
        """Whether this finished output is of no use any more, such as a link that has ended: a job
        that asks for its item again has it made anew. Asked of an instance that is not open."""
        return False

    def bound(self) -> str | None:
        """The limit of this stage other than its workers, as the end of a sentence, once it is
        open; None where more workers may help. Called on the event loop, for async stages only."""
        return None

    def drain(self) -> None:
        """Called on the event loop, once the run takes nothing new: what has not been begun for an
        item in hand may be given up, by Withdrawn. Do not block. Each open instance in a thread is
        called too, while `process` may be at work in its thread; one in a process is not."""

    @classmethod
    def is_off(cls, settings: Any) -> bool:
        """Whether it has nothing to do for any item under these settings, such as an upload where
        no store is named. Its step is then no part of the run. For a last step: one that another
        step reads or follows, that stands at parts, or takes items from the source, stays."""
        return False

    @classmethod
    def is_async(cls) -> bool:
        """Whether this stage runs on the event loop."""
        return inspect.iscoroutinefunction(cls.split if cls.splits() else cls.process)

    @classmethod
    def most_workers(cls, placement: str) -> int | None:
        """The most workers that this stage may have where they stand; None for any number."""
        return None if placement == "ray" else cls.max_workers

    @classmethod
    def splits(cls) -> bool:
        """Whether this stage splits its items into parts."""
        return cls.split is not Stage.split


Produced = Iterable[Item] | None
"""The possible return values of `process`."""
