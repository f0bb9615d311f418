"""`Pipeline`: stages in a directed acyclic graph, validated when it is built."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine.errors import PipelineError
from engine.item import Item
from engine.stage import Stage

SOURCE = "source"
"""What a step names in `after` to take items straight from the pipeline's source."""

STAGES = "penstock.stages"
"""The entry points by which packages register stages."""

Outcome = Literal["done", "dropped", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item as the ledger knows it, for a finish to read.

    `outcome` is the item's as a whole; where it is not done, `stage`, `reason` and `kind` say which
    stage ended it and why. `parent` is the id of the item it came out of, None for the source's
    own. `expanded` is the number of items that came out of this one, None if it is an ordinary one.
    `source` and `reason` may be passed on: passwords and signatures of addresses are not in them.
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


@dataclass(frozen=True, slots=True)
class FinishContext:
    """What a finish works with: the work folder, every stage's settings, and the ledger's items."""

    workdir: Path
    settings: Mapping[str, BaseModel]
    versions: Mapping[str, str]
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, this run's and earlier ones', ordered by id; streamed."""


Finish = Callable[[FinishContext], Sequence[str]]
"""Runs once, in a thread, when every item has ended. Returns lines for the end-of-run report."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What the sections of a page are made from: the work folder and the ledger's items."""

    workdir: Path
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, ordered by id; streamed."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report page that a pipeline contributes, as HTML that may be trusted.

    `body` is `markupsafe.Markup`: whatever came from outside has been escaped in making it. A
    plain text is escaped. `style` is CSS for it; images have to be in `data:` addresses.
    """

    title: str
    body: str
    style: str = ""


Sections = Callable[[PageContext], Iterable[Section]]
"""Makes a pipeline's own part of the page, in a thread, for a run at any point of its way."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line flag of a pipeline's own, which stands for settings: `--allow-private`."""

    name: str
    help: str
    sets: Mapping[str, Any]
    """Dotted setting names and the values they take: {"stages.download.allow_private": True}."""
    once: bool = False
    """Whether it is for one run alone: `penstock retry` keeps all other settings of the last."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `penstock doctor` looked at. A "problem" keeps a run from working."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A stage's place in a pipeline: the stages whose outputs it reads, or SOURCE."""

    stage: type[Stage]
    after: str | Sequence[str]

    @classmethod
    def named(cls, name: str, after: str | Sequence[str]) -> "Step":
        """A step of the stage that some package has registered as `name` in the entry points
        `penstock.stages`. Raises PipelineError where there is none."""
        found = metadata.entry_points(group=STAGES, name=name)
        if not found:
            known = ", ".join(sorted({entry.name for entry in metadata.entry_points(group=STAGES)}))
            raise PipelineError(f"no stage is registered as {name!r}; there are: {known or 'none'}")
        stage = next(iter(found)).load()
        if not (isinstance(stage, type) and issubclass(stage, Stage)):
            raise PipelineError(f"what is registered as stage {name!r} is no engine.Stage")
        return cls(stage, after)

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def predecessors(self) -> tuple[str, ...]:
        after = (self.after,) if isinstance(self.after, str) else tuple(self.after)
        return tuple(name for name in after if name != SOURCE)

    @property
    def is_root(self) -> bool:
        return SOURCE in ((self.after,) if isinstance(self.after, str) else tuple(self.after))


@dataclass(frozen=True)
class Pipeline:
    """Which stage follows which, and what a pipeline knows that no single stage does.

    Raises PipelineError, naming the stage, for duplicate names, unknown names in `after`, cycles,
    and stages that nothing reaches.
    """

    name: str
    summary: str
    steps: Sequence[Step]
    finish: Finish | None = None
    canonical: Callable[[str], str] = str.strip
    """Turns what a person typed into the source an item is known by. Raises UsageError."""
    resolve: Callable[[dict[str, BaseModel]], dict[str, BaseModel]] = field(default=lambda s: s)
    """Fills in settings that follow from another stage's, by stage name."""
    flags: Sequence[Flag] = ()
    checks: Callable[[Mapping[str, BaseModel]], Iterable[Check]] | None = None
    """What `penstock doctor` looks at with these settings, by stage name."""
    sections: Sections | None = None
    """What the report page shows beside the engine's own: pictures, say."""
    costs: Callable[[Item, Mapping[str, BaseModel]], Mapping[str, float]] | None = None
    """What an item that has ended has cost that the engine has no word for, given every stage's
    settings: {"requests": 12, "bytes fetched": 3e6}. `penstock plan` adds these up, so they have to
    be amounts; names that begin with "bytes" are shown as sizes."""
    packages: Sequence[str] = ()
    """Distributions whose versions each run records."""

    def __post_init__(self) -> None:
        _validate(self)

    def __getitem__(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names in topological order, ties in the order they were declared."""
        order = TopologicalSorter({step.name: step.predecessors for step in self.steps})
        return tuple(order.static_order())

    def predecessors(self, name: str) -> tuple[str, ...]:
        return self[name].predecessors

    def successors(self, name: str) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps if name in step.predecessors)

    @property
    def roots(self) -> tuple[str, ...]:
        """The stages that take items from the source."""
        return tuple(step.name for step in self.steps if step.is_root)


def _validate(pipeline: Pipeline) -> None:
    def fail(problem: str) -> PipelineError:
        return PipelineError(f"pipeline {pipeline.name!r}: {problem}")

    if not pipeline.steps:
        raise fail("it has no stages; give it at least one Step")
    names: list[str] = []
    for step in pipeline.steps:
        if step.name == SOURCE:
            raise fail(f"a stage cannot be named {SOURCE!r}, which means where items come from")
        if step.name in names:
            raise fail(f"two stages are named {step.name!r}; give one of them another name")
        names.append(step.name)
    for step in pipeline.steps:
        for before in step.predecessors:
            if before not in names:
                near = get_close_matches(before, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
                raise fail(
                    f"stage {step.name!r} comes after {before!r}, which does not exist{hint}"
                )
    try:
        order = pipeline.names
    except CycleError as error:
        raise fail(f"its stages form a cycle: {' -> '.join(error.args[1])}") from None
    reached: set[str] = set()
    for name in order:
        step = pipeline[name]
        if step.is_root and step.predecessors:
            raise fail(f"stage {name!r} comes after the source and after {step.predecessors[0]!r}")
        if step.is_root or (step.predecessors and reached.issuperset(step.predecessors)):
            reached.add(name)
        else:
            raise fail(f"nothing reaches stage {name!r}; name {SOURCE!r} or a stage in its `after`")
