"""`Pipeline`: the graph of steps, and what else a pipeline brings; and what the engine gives it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine.contract.errors import PipelineError
from engine.contract.item import Item
from engine.contract.job import NO_PARAMETERS
from engine.contract.steps import Step, Steps
from engine.contract.validation import check_steps

Outcome = Literal["done", "dropped", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item as the ledger knows it, for a finish to read.

    `outcome` is the outcome of the item as a whole. Where it is not done, `stage`, `reason` and
    `kind` say which stage ended the item and why. `parent` is the id of the item that produced this
    one, None for an item of the source. `expanded` is the number of items that this one produced,
    None for an ordinary item. `parameters` are the latest that the item came with. `gaps` is the
    number of parts that failed and that the item is done without. `retryable` says of one that
    failed whether another try may help. `source` and `reason` may be
    passed on: passwords and signatures are removed from the addresses in them.
    """

    id: str
    source: str
    folder: Path
    parent: str | None
    outcome: Outcome
    stage: str | None
    reason: str | None
    kind: str | None
    expanded: int | None
    parameters: Mapping[str, Any] = NO_PARAMETERS
    gaps: int = 0
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt at an item, or at a part, as the ledger has it. Times are seconds since the epoch;
    `ended` and `outcome` are None where it was cut off."""

    item: str
    step: str
    started: float
    ended: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run did: its attempts, in the order in which they began; and the most bytes of memory
    that it was seen to use, with its processes, None where nobody looked."""

    attempts: Sequence[AttemptRecord] = ()
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class FinishContext:
    """The input of a finish: the work folder, every stage's settings, and the ledger's items."""

    workdir: Path
    settings: Mapping[str, BaseModel]
    versions: Mapping[str, str]
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, from this run and earlier ones, ordered by id; streamed."""
    run: Callable[[], RunRecord] = RunRecord
    """What the run did whose end this is."""
    is_over: bool = True
    """Whether the run has come to its end; false where a resident run goes on meanwhile."""


Finish = Callable[[FinishContext], Sequence[str]]
"""Runs in a thread, when every item has ended. Returns lines for the end-of-run report. Where the
pipeline has no `finish_item`, a resident run has it run now and then while it goes on."""


FinishItem = Callable[[FinishContext, ItemRecord], object]
"""Brings the pipeline's results into agreement with one item that has ended: done, and they show
it; dropped or failed, and they show nothing of it. Runs in a thread, for one item at a time, after
the ledger has the end and before anybody is told of it; once more where the item comes again, or a
run was killed meanwhile. What it takes may not grow with the number of items: so it leaves
`context.items` alone."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """The input of a pipeline's page sections: the work folder and the ledger's items.

    `live`: a server stands behind the page, which asks the pipeline's `answer`. `settings` are then
    every stage's, by name.
    """

    workdir: Path
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, ordered by id; streamed."""
    live: bool = False
    settings: Mapping[str, BaseModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report page that a pipeline contributes, as HTML that may be trusted.

    `body` is `markupsafe.Markup`, so text from outside was escaped when it was made. A plain str is
    escaped. `style` is CSS for the section; images have to be in `data:` addresses, or, where the
    page is live, be asked for. `script` is JavaScript that runs once, after the page's own. A live
    page replaces a section whose body has changed and does not run the script again: it fires
    "penstock:news" at the document when there is news, and "penstock:end" when there will be no
    more and nobody answers any longer.
    """

    title: str
    body: str
    style: str = ""
    script: str = ""
    first: bool = False
    """Whether the pipeline's sections stand before what the page tells of the run."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file that the server of a live page sends, in ranges where these are asked for.

    It lies in the work folder. A link out of it is followed to one place alone: to the file that
    `source`, an item's, names.
    """

    path: Path
    media_type: str
    source: str | None = None


Forget = Callable[[FinishContext, ItemRecord], Sequence[str]]
"""Takes an item out of the stores that the pipeline writes to, beside its results; called again
where a first call was cut off. Returns a line for each."""


News = Callable[[str, Path], str | None]
"""What the views tell at once of a step that has ended well with an item or a part, given the
step's name and its output's folder: a line, None for nothing. Called on the event loop, so it has
to return at once."""


Sections = Callable[[PageContext], Iterable[Section]]
"""Makes a pipeline's own sections of the page, in a thread, at any time during or after a run."""

Answer = Callable[[PageContext, str, Mapping[str, str]], Any]
"""Answers what a section's script asks the server of a live page: `ask/QUESTION?NAME=VALUE`. Called
in a thread, at any time and several times at once. Returns a PageFile, or else what is sent as
JSON; None where there is no such thing. The text of a UsageError is sent as {"problem": text}."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A pipeline's own command-line flag, which stands for settings: `--allow-private`; or an
    option that takes a value for them: `--schema FILE`."""

    name: str
    help: str
    sets: Mapping[str, Any]
    """The values that the flag sets, by dotted name: {"stages.fetch.allow_private": True}."""
    once: bool = False
    """Whether the flag holds for one run only: `penstock retry` does not
    take it from the last run."""
    takes: str = ""
    """The word for its value, such as "FILE": the settings in `sets` then get what is given."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `penstock doctor` checked. A "problem" keeps a run from working."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    text: str


@dataclass(frozen=True)
class Pipeline(Steps):
    """The order of the steps, and the facts about a pipeline that no single stage knows.

    Raises PipelineError, naming the step, for duplicate names, unknown names in `after`, cycles,
    steps that nothing reaches, inputs that are unknown, unbound or made by no earlier step, steps
    at parts that no step before them makes, and stages whose methods or settings the engine cannot
    use.
    """

    name: str
    summary: str
    steps: Sequence[Step]
    finish: Finish | None = None
    finish_item: FinishItem | None = None
    """Makes the results of each item as soon as that has ended, before the finish makes all."""
    forget: Forget | None = None
    """What `penstock forget` does before it makes the finish build its results without the item."""
    kept: Sequence[str] = ()
    """Folders of the work folder's cache with a file for each answer that is kept for all items. A
    file's time is that of its last use: `penstock prune` deletes those of long ago."""
    canonical: Callable[[str], str] = str.strip
    """Turns the text that a person typed into the source of an item. Raises UsageError."""
    precheck: Callable[[str, Mapping[str, BaseModel]], None] | None = None
    """Looks at a source that a person typed, under every stage's settings, by name, before the run
    begins. Raises UsageError, a line for each thing that is wrong: then nothing is run. Those of
    a list are not looked at: there one that is wrong fails by itself."""
    parameters: Callable[[str], Mapping[str, Any]] | None = None
    """The parameters of an item that came without any but options, from its canonical source: a
    digest of the file that it names, say, so that a changed one is done again. May block."""
    resolve: Callable[[dict[str, BaseModel]], dict[str, BaseModel]] = field(default=lambda s: s)
    """Fills in the settings that follow from another stage's settings, by stage name."""
    flags: Sequence[Flag] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    """Commands below the pipeline's own, by name, such as `penstock letters template`: each is the
    place of a click command, "module:attribute", which is loaded when it is used."""
    checks: Callable[[Mapping[str, BaseModel]], Iterable[Check]] | None = None
    """The checks of `penstock doctor` under these settings, by stage name."""
    news: News | None = None
    """What the views tell of a step's outputs as they come."""
    sections: Sections | None = None
    """The pipeline's own sections of the report page, such as pictures."""
    answer: Answer | None = None
    """Answers the sections' scripts on a live page."""
    costs: Callable[[Item, Mapping[str, BaseModel]], Mapping[str, float]] | None = None
    """The costs of an ended item that the engine does not know of, given every stage's settings:
    {"requests": 12, "bytes fetched": 3e6}. `penstock plan` adds them up, so each has to be an
    amount; names that begin with "bytes" are shown as sizes."""
    unit: str = "item"
    """The word for one item, such as "page"; with an s for several:
    `--pages` then means `--items`."""
    takes: str = "source"
    """The word for one argument, such as "URL"; with an s for several. The usage line shows it."""
    packages: Sequence[str] = ()
    """Distributions whose versions each run records."""
    imports: Sequence[str] = ()
    """Modules that one thread imports before any step opens, such as numpy. Steps open side by
    side, and a library in C may fail to import where it meets numpy half imported by another
    thread. One that is missing is left to the steps."""

    def __post_init__(self) -> None:
        try:
            check_steps(self)
        except PipelineError as error:
            raise PipelineError(f"pipeline {self.name!r}: {error}") from None

    def without(self, steps: Collection[str]) -> "Pipeline":
        """The pipeline without those of its steps that have these names: those that are off."""
        kept = [step for step in self.steps if step.name not in steps]
        return self if len(kept) == len(self.steps) else replace(self, steps=kept)
