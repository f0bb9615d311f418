"""`Pipeline`: stages in a directed acyclic graph, validated when it is built."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from engine.contract.errors import PipelineError
from engine.contract.item import Item
from engine.contract.job import NO_PARAMETERS
from engine.contract.stage import Stage, why_unusable

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
    `parameters` are those that it came with last.
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
    parameters: Mapping[str, Any] = NO_PARAMETERS


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
    """Dotted setting names and the values they take: {"stages.fetch.allow_private": True}."""
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
    """A stage's place in a pipeline: the steps that it comes after, or SOURCE, and what it reads.

    `name` is what its pool, its settings, the ledger and the folders go by: the stage's own, or
    another where a stage stands twice. `inputs` names the steps whose outputs the stage reads, by
    the roles that it gives them (`Stage.inputs`): any step that comes before this one, however far.
    None leaves an optional role unbound. A role that is not named here is bound by itself where
    that is plain: to the step before of the role's own name, or, if the stage needs only that one,
    to the only step in `after`.
    """

    stage: type[Stage]
    after: str | Sequence[str]
    name: str = ""
    inputs: Mapping[str, str | None] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.stage, type) and issubclass(self.stage, Stage)):
            raise PipelineError(f"a Step has {self.stage!r}, which is no class of an engine.Stage")
        if not self.name:
            object.__setattr__(self, "name", self.stage.name)

    @classmethod
    def named(
        cls,
        stage: str,
        after: str | Sequence[str],
        name: str = "",
        inputs: Mapping[str, str | None] | None = None,
    ) -> "Step":
        """A step of the stage that some package has registered as `stage` in the entry points
        `penstock.stages`. Raises PipelineError where there is none."""
        found = metadata.entry_points(group=STAGES, name=stage)
        if not found:
            known = ", ".join(sorted({entry.name for entry in metadata.entry_points(group=STAGES)}))
            raise PipelineError(
                f"no stage is registered as {stage!r}; there are: {known or 'none'}"
            )
        loaded = next(iter(found)).load()
        if not (isinstance(loaded, type) and issubclass(loaded, Stage)):
            raise PipelineError(f"what is registered as stage {stage!r} is no engine.Stage")
        return cls(loaded, after, name, inputs or {})

    @property
    def predecessors(self) -> tuple[str, ...]:
        return tuple(name for name in _words(self.after) if name != SOURCE)

    @property
    def is_root(self) -> bool:
        return SOURCE in _words(self.after)


@dataclass(frozen=True)
class Pipeline:
    """Which stage follows which, and what a pipeline knows that no single stage does.

    Raises PipelineError, naming the step, for duplicate names, unknown names in `after`, cycles,
    steps that nothing reaches, inputs that are unknown, not bound or not made before, and stages
    whose methods or settings the engine cannot use.
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
    unit: str = "item"
    """What an item is called, "page" say, with an s for many: `--pages` is then `--items`, too."""
    takes: str = "source"
    """What a person gives for an item, "URL" say, with an s for many: so the usage has it."""
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

    def upstream(self, name: str) -> tuple[str, ...]:
        """Every step before this one, however far, in topological order."""
        found = {name}
        for other in reversed(self.names):
            if other in found:
                found.update(self[other].predecessors)
        return tuple(other for other in self.names if other in found and other != name)

    def inputs(self, name: str) -> Mapping[str, str | None]:
        """The steps whose outputs the stage of this step reads, by role; None for an optional role
        that no step is bound to."""
        return _bound(self[name], self.upstream(name))

    def reads(self, name: str) -> tuple[str, ...]:
        """The steps whose outputs have to be there when this step begins: those that it comes
        after, in that order, and what else it reads."""
        before = self[name].predecessors
        bound = (step for step in self.inputs(name).values() if step is not None)
        return (*before, *(step for step in dict.fromkeys(bound) if step not in before))

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
        if not re.fullmatch(r"[^\s./][^\s/]*", step.name):
            raise fail(f"{step.name!r} is no name for a step: it has to do as that of a folder")
        if step.name in names:
            raise fail(
                f"two steps are named {step.name!r}; give one of them another: Step(..., name=...)"
            )
        names.append(step.name)
    for step in pipeline.steps:
        if (problem := why_unusable(step.stage)) is not None:
            raise fail(f"stage {step.name!r}: {problem}")
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
    for name in order:
        try:
            pipeline.inputs(name)
        except PipelineError as error:
            raise fail(str(error)) from None


def _bound(step: Step, upstream: Sequence[str]) -> dict[str, str | None]:
    """Which of the steps before `step`, `upstream`, each role of its stage stands for.

    Raises PipelineError where that is not plain. What is read was made upstream, so it has ended
    when the step begins.
    """
    needed, optional = _words(step.stage.inputs), _words(step.stage.optional_inputs)
    roles = (*needed, *optional)
    for role, read in step.inputs.items():
        if role not in roles:
            known = f"its stage reads: {', '.join(roles)}" if roles else "its stage names no inputs"
            raise PipelineError(f"step {step.name!r} binds the input {role!r}; {known}")
        if read is not None and read not in upstream:
            raise PipelineError(
                f"step {step.name!r} reads {read!r} as its {role!r}, which is no step before it; "
                + _choice(upstream)
            )
    bound = {
        role: step.inputs[role] if role in step.inputs else _plain(step, role, upstream)
        for role in roles
    }
    for role in needed:
        if bound[role] is None:
            raise PipelineError(
                f"step {step.name!r} has to say which output it reads as its {role!r}: "
                f"Step(..., inputs={{{role!r}: ...}}); {_choice(upstream)}"
            )
    return bound


def _plain(step: Step, role: str, upstream: Sequence[str]) -> str | None:
    """What a role stands for that the pipeline does not bind; None where nothing is plain."""
    main = _words(step.stage.inputs) or _words(step.stage.optional_inputs)
    by_name = role if role in upstream else None
    by_place = step.predecessors[0] if main == (role,) and len(step.predecessors) == 1 else None
    if by_name is not None and by_place is not None and by_name != by_place:
        raise PipelineError(
            f"step {step.name!r} may read {by_name!r} or {by_place!r} as its {role!r}; say which: "
            f"Step(..., inputs={{{role!r}: ...}})"
        )
    return by_name or by_place


def _choice(upstream: Sequence[str]) -> str:
    return f"before it: {', '.join(upstream) or 'only the source'}"


def _words(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name needs no list."""
    return (names,) if isinstance(names, str) else tuple(names)
