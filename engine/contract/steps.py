"""`Step` and `Steps`: the graph of a pipeline, and which step reads which steps' outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from importlib import metadata

from engine.contract.errors import PipelineError
from engine.contract.stage import Stage

SOURCE = "source"
"""Named in a step's `after`: the step takes items straight from the pipeline's source."""

STAGES = "penstock.stages"
"""The entry points under which packages register stages."""


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


class Steps:
    """A graph of steps. Only its checks (engine/contract/validation.py) see one that has a cycle,
    or whose inputs or levels are impossible."""

    steps: Sequence[Step]

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

    def may_be_left_out(self, name: str) -> bool:
        """Whether the other steps are the same without this one: it is a last step, at whole items,
        and no first one."""
        step = self[name]
        is_needed = any(name in self.reads(other) for other in self.names)
        return not (is_needed or step.each or step.is_root)

    @property
    def roots(self) -> tuple[str, ...]:
        """The steps that take items from the source."""
        return tuple(step.name for step in self.steps if step.is_root)


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
                + choice(upstream)
            )
    bound = {
        role: step.inputs[role] if role in step.inputs else _plain(step, role, upstream)
        for role in roles
    }
    for role in needed:
        if bound[role] is None:
            raise PipelineError(
                f"step {step.name!r} has to say which output it reads as its {role!r}: "
                f"Step(..., inputs={{{role!r}: ...}}); {choice(upstream)}"
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


def choice(upstream: Sequence[str]) -> str:
    """What a step with these steps before it may name, for a message."""
    return f"before it: {', '.join(upstream) or 'only the source'}"


def _words(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple: a single name may be given without a list."""
    return (names,) if isinstance(names, str) else tuple(names)
