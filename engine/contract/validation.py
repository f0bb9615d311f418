"""Whether a pipeline's steps make sense together: checked when the pipeline is built."""

import inspect
import re
from difflib import get_close_matches
from graphlib import CycleError

from pydantic import BaseModel

from engine.contract.errors import PipelineError
from engine.contract.item import PARTS
from engine.contract.stage import Stage, StageOptions
from engine.contract.steps import SOURCE, Steps, choice


def check_steps(graph: Steps) -> None:
    """Raises PipelineError, which names the step at fault and says what to do."""
    if not graph.steps:
        raise PipelineError("it has no stages; give it at least one Step")
    _check_names(graph)
    for step in graph.steps:
        if (problem := _why_unusable(step.stage)) is not None:
            raise PipelineError(f"stage {step.name!r}: {problem}")
    _check_order(graph)
    for name in graph.names:
        graph.inputs(name)  # raises where they are not bound
        _check_level(graph, name)


def _why_unusable(stage: type[Stage]) -> str | None:
    """The reason why the engine cannot use a stage's class, with the remedy; None if it can."""
    if not (isinstance(stage.Settings, type) and issubclass(stage.Settings, BaseModel)):
        return "its Settings are no class derived from engine.Settings"
    if clash := sorted(set(stage.Settings.model_fields) & set(StageOptions.model_fields)):
        return (
            f"its setting {clash[0]!r} has the name of an option that every stage has; "
            "give it another name"
        )
    if (problem := _why_no_splitter(stage)) is not None:
        return problem
    if inspect.isasyncgenfunction(stage.process):
        return (
            "its process() is an `async def` that yields; return an iterable of the items, or "
            "yield them in a `def process`"
        )
    work = "split" if stage.splits() else "process"
    asked = ("gate", "needs", "find_ingredients", "has_expired", "bound", "is_off")
    for name in ("open", "process_batch", "close", *asked):
        method = getattr(stage, name)
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            return f"its {name}() yields; only process() may, others return what they have"
        if not inspect.iscoroutinefunction(method):
            continue
        if name in asked:
            return f"its {name}() is async, and is called where nothing may wait; make it a `def`"
        if not stage.is_async():
            return (
                f"its {name}() is async and its {work}() is not, so nobody would wait for it; "
                f"make it a `def`, or {work}() an `async def`"
            )
    return None


def _why_no_splitter(stage: type[Stage]) -> str | None:
    """The reason why a stage that splits cannot be used; None if it can, or does not split."""
    if not stage.splits():
        return None
    for name in ("process", "process_batch"):
        if getattr(stage, name) is not getattr(Stage, name):
            return f"it has split() and {name}(); a stage has one of them"
    if inspect.isgeneratorfunction(stage.split) or inspect.isasyncgenfunction(stage.split):
        return "its split() yields; have it hand over its parts with parts.make()"
    if stage.gate is not Stage.gate:
        return (
            "it has split() and gate(), and would stay inside the gate while its parts wait for "
            "room; do what goes through the gate in a step before it"
        )
    return None


def _check_names(graph: Steps) -> None:
    names: set[str] = set()
    for step in graph.steps:
        if step.name == SOURCE:
            raise PipelineError(
                f"a stage cannot be named {SOURCE!r}, which means where items come from"
            )
        if not re.fullmatch(r"[^\s./][^\s/]*", step.name):
            raise PipelineError(
                f"{step.name!r} is no name for a step: it has to do as that of a folder"
            )
        if step.name in names:
            raise PipelineError(
                f"two steps are named {step.name!r}; give one of them another: Step(..., name=...)"
            )
        if step.name.endswith(PARTS):
            raise PipelineError(
                f"no step's name may end in {PARTS!r}, as that of {step.name!r} does; give it "
                "another: Step(..., name=...)"
            )
        names.add(step.name)


def _check_order(graph: Steps) -> None:
    """Every `after` names steps that there are, without a cycle, and items reach every step."""
    names = [step.name for step in graph.steps]
    for step in graph.steps:
        for before in step.predecessors:
            if before not in names:
                near = get_close_matches(before, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
                raise PipelineError(
                    f"stage {step.name!r} comes after {before!r}, which does not exist{hint}"
                )
    try:
        order = graph.names
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise PipelineError(f"its stages form a cycle: {cycle}") from None
    reached: set[str] = set()
    for name in order:
        step = graph[name]
        if step.is_root and step.predecessors:
            raise PipelineError(
                f"stage {name!r} comes after the source and after {step.predecessors[0]!r}"
            )
        if step.is_root or (step.predecessors and reached.issuperset(step.predecessors)):
            reached.add(name)
        else:
            raise PipelineError(
                f"nothing reaches stage {name!r}; name {SOURCE!r} or a stage in its `after`"
            )


def _check_level(graph: Steps, name: str) -> None:
    """Raises PipelineError where the step cannot stand at its level, or cannot read from there what
    it reads. Called in topological order: the steps before it have been checked."""
    step = graph[name]
    if step.each and step.each not in graph.upstream(name):
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), which is no step before "
            f"it; {choice(graph.upstream(name))}"
        )
    if step.each and not graph[step.each].stage.splits():
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), whose stage makes none: "
            "it has no split()"
        )
    mine = graph.level(name)
    if step.each and not any(
        before == step.each or graph.level(before)[: len(mine)] == mine
        for before in step.predecessors
    ):
        raise PipelineError(
            f"step {name!r} stands at the parts of {step.each!r} (each=), but comes after none of "
            f"them; name {step.each!r}, or a step that stands there, in its `after`"
        )
    for read in graph.reads(name):
        level = graph.level(read)
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
