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
from engine.contract.item import PARTS, Item
from engine.contract.job import NO_PARAMETERS
from engine.contract.stage import Stage, why_unusable

SOURCE = "source"
"""Named in a step's `after`: the step takes items straight from the pipeline's source."""

STAGES = "penstock.stages"
"""The entry points under which packages register stages."""

Outcome = Literal["done", "dropped", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item as the ledger knows it, for a finish to read.

    `outcome` is the outcome of the item as a whole. Where it is not done, `stage`, `reason` and
    `kind` say which stage ended the item and why. `parent` is the id of the item that produced this
    one, None for an item of the source. `expanded` is the number of items that this one produced,
    None for an ordinary item. `parameters` are the latest that the item came with. `source` and
    `reason` may be passed on: passwords and signatures are removed from the addresses in them.
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
    """The input of a finish: the work folder, every stage's settings, and the ledger's items."""

    workdir: Path
    settings: Mapping[str, BaseModel]
    versions: Mapping[str, str]
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, from this run and earlier ones, ordered by id; streamed."""


Finish = Callable[[FinishContext], Sequence[str]]
"""Runs once, in a thread, when every item has ended. Returns lines for the end-of-run report."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """The input of a pipeline's page sections: the work folder and the ledger's items."""

    workdir: Path
    items: Callable[[], Iterator[ItemRecord]]
    """Every item of the work folder, ordered by id; streamed."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report page that a pipeline contributes, as HTML that may be trusted.

    `body` is `markupsafe.Markup`, so text from outside was escaped when it was made. A plain str is
    escaped. `style` is CSS for the section; images have to be in `data:` addresses.
    """

    title: str
    body: str
    style: str = ""


Sections = Callable[[PageContext], Iterable[Section]]
"""Makes a pipeline's own sections of the page, in a thread, at any time during or after a run."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A pipeline's own command-line flag, which stands for settings: `--allow-private`."""

    name: str
    help: str
    sets: Mapping[str, Any]
    """The values that the flag sets, by dotted name: {"stages.fetch.allow_private": True}."""
    once: bool = False
    """Whether the flag holds for one run only: `penstock retry` does not
    take it from the last run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `penstock doctor` checked. A "problem" keeps a run from working."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A stage's place in a pipeline: the steps that it comes after, or SOURCE, and its inputs.

    `name` is the name of its pool, its settings, its ledger rows and its folders: the stage's own
    name, or another where a stage stands twice. `inputs` names the steps whose outputs the stage
    reads, by role (`Stage.inputs`): any step before this one, however far up. None leaves an
    optional role unbound. A role that `inputs` does not name is bound automatically where the
    choice is unambiguous: to an earlier step with the role's own name, or, if the stage needs only
    that role, to the only step in `after`.

    `each` names a step before it that splits: this one then stands at the level of that step's
    parts, and works on each of them; without it, it works on whole items. A step reads outputs of
    its own level, outputs of the items that its part belongs to, and gathers: it may read what a
    step at the parts of its item has made, `item.parts(role)`, and then begins once all of them
    have ended there.
    """

    stage: type[Stage]
    after: str | Sequence[str]
    name: str = ""
    inputs: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    each: str = ""

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
        each: str = "",
    ) -> "Step":
        """A step of the stage registered as `stage` under the entry points `penstock.stages`.
        Raises PipelineError where no package registers it."""
        found = metadata.entry_points(group=STAGES, name=stage)
        if not found:
            known = ", ".join(sorted({entry.name for entry in metadata.entry_points(group=STAGES)}))
            raise PipelineError(
                f"no stage is registered as {stage!r}; there are: {known or 'none'}"
            )
        loaded = next(iter(found)).load()
        if not (isinstance(loaded, type) and issubclass(loaded, Stage)):
            raise PipelineError(f"what is registered as stage {stage!r} is no engine.Stage")
        return cls(loaded, after, name, inputs or {}, each)

    @property
    def predecessors(self) -> tuple[str, ...]:
        return tuple(name for name in _words(self.after) if name != SOURCE)

    @property
    def is_root(self) -> bool:
        return SOURCE in _words(self.after)


@dataclass(frozen=True)
class Pipeline:
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
    canonical: Callable[[str], str] = str.strip
    """Turns the text that a person typed into the source of an item. Raises UsageError."""
    resolve: Callable[[dict[str, BaseModel]], dict[str, BaseModel]] = field(default=lambda s: s)
    """Fills in the settings that follow from another stage's settings, by stage name."""
    flags: Sequence[Flag] = ()
    checks: Callable[[Mapping[str, BaseModel]], Iterable[Check]] | None = None
    """The checks of `penstock doctor` under these settings, by stage name."""
    sections: Sections | None = None
    """The pipeline's own sections of the report page, such as pictures."""
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

    def __post_init__(self) -> None:
        _validate(self)

    def __getitem__(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The steps' names in topological order; ties keep the order of declaration."""
        order = TopologicalSorter({step.name: step.predecessors for step in self.steps})
        return tuple(order.static_order())

    def predecessors(self, name: str) -> tuple[str, ...]:
        return self[name].predecessors

    def successors(self, name: str) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps if name in step.predecessors)

    def upstream(self, name: str) -> tuple[str, ...]:
        """Every step before this one, however far up, in topological order."""
        found = {name}
        for other in reversed(self.names):
            if other in found:
                found.update(self[other].predecessors)
        return tuple(other for other in self.names if other in found and other != name)

    def inputs(self, name: str) -> Mapping[str, str | None]:
        """The steps whose outputs this step's stage reads, by role; None for an optional role that
        is bound to no step."""
        return _bound(self[name], self.upstream(name))

    def reads(self, name: str) -> tuple[str, ...]:
        """The steps whose outputs have to be there when this step begins: the steps in its `after`,
        in that order, then its other inputs."""
        before = self[name].predecessors
        bound = (step for step in self.inputs(name).values() if step is not None)
        return (*before, *(step for step in dict.fromkeys(bound) if step not in before))

    def level(self, name: str) -> tuple[str, ...]:
        """The level that this step stands at: the steps that split, from the outermost on, whose
        parts it works on; empty for whole items."""
        each = self[name].each
        return (*self.level(each), each) if each else ()

    @property
    def roots(self) -> tuple[str, ...]:
        """The steps that take items from the source."""
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
        if step.name.endswith(PARTS):
            raise fail(f"no step's name may end in {PARTS!r}, as that of {step.name!r} does")
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
            _check_level(pipeline, name)
        except PipelineError as error:
            raise fail(str(error)) from None


def _check_level(pipeline: Pipeline, name: str) -> None:
    """Raises PipelineError where the step cannot stand at its level, or cannot read from there what
    it reads. Called in topological order: the steps before it have been checked."""
    step = pipeline[name]
    if step.each and step.each not in pipeline.upstream(name):
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), which is no step before "
            f"it; {_choice(pipeline.upstream(name))}"
        )
    if step.each and not pipeline[step.each].stage.splits():
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), whose stage makes none: "
            "it has no split()"
        )
    mine = pipeline.level(name)
    if step.each and not any(
        before == step.each or pipeline.level(before) == mine for before in step.predecessors
    ):
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), but comes after none of "
            f"them; name {step.each!r}, or a step that stands there, in its `after`"
        )
    for read in pipeline.reads(name):
        level = pipeline.level(read)
        gathers = len(level) == len(mine) + 1 and level[:-1] == mine
        if level == mine[: len(level)] or gathers:
            continue
        if level[: len(mine)] == mine:
            raise PipelineError(
                f"step {name!r} reads {read!r}, which stands {len(level) - len(mine)} levels below "
                f"it; have a step at the parts of {level[len(mine)]!r} gather it first"
            )
        raise PipelineError(
            f"step {name!r} reads {read!r}, which stands at the parts of {level[-1]!r}: those of "
            "another branch; have a step of whole items gather it first"
        )


def _bound(step: Step, upstream: Sequence[str]) -> dict[str, str | None]:
    """The step that each role of the step's stage is bound to, out of `upstream`.

    Raises PipelineError where the choice is ambiguous. Every input is made upstream, so it has
    ended when the step begins.
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
    """The step for a role that the pipeline leaves unbound; None where no
    step is the obvious one."""
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
    """The names as a tuple: a single name may be given without a list."""
    return (names,) if isinstance(names, str) else tuple(names)
