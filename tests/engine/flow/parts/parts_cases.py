"""Random pipelines: with steps that split, also nested, steps at parts, and steps that gather."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from engine import SOURCE, Item, Pipeline, Step
from tests.engine import toys
from tests.engine.disturbed import Disturbance
from tests.engine.toy_parts import Cutter, Gatherer, LoopCutter
from tests.engine.toys import Does, GatedLoopToy, GatedToy

ATTEMPTS = 3
PARTS = 4
"""The most parts of an item."""

Level = tuple[str, ...]


class LoopGatherer(Gatherer, GatedLoopToy):
    """Gathers on the event loop."""


class GatedGatherer(Gatherer, GatedToy):
    """Gathers in a thread."""


@dataclass
class Plan:
    """A step of the random pipeline, and what it does to which item or part."""

    name: str
    level: Level
    splits: bool
    after: Sequence[str]
    reads: Sequence[str]
    """What it comes after, and some of what comes before that."""
    gathers: Sequence[str]
    """Those of `reads` of which it reads the parts: at its parts, or making them."""
    options: Mapping[str, Any]
    on_loop: bool
    resumes: bool
    needs: bool
    does: Does
    cuts: Mapping[str, int]
    upstream: set[str] = field(default_factory=set)

    def overrides(self) -> list[str]:
        return [f"stages.{self.name}.{key}={json.dumps(v)}" for key, v in self.options.items()]

    def many(self, called: str) -> int:
        """Number of parts that it makes of the item."""
        return self.cuts.get(called, 2)

    @property
    def step(self) -> Step:
        body: dict[str, Any] = {
            "name": self.name,
            "optional_inputs": tuple(self.reads),
            "does": self.does,
            "cuts": self.cuts,
            "resumes": self.resumes,
            "roles": tuple(self.gathers),
        }
        if self.needs:
            body["needs"] = lambda stage: {"lathe": 1}
        made = type(self.name.capitalize(), (self._base,), body)
        each = self.level[-1] if self.level else ""
        return Step(made, tuple(self.after) or SOURCE, each=each)

    @property
    def _base(self) -> type:
        if self.splits:
            return LoopTwoCutter if self.on_loop else TwoCutter
        if self.gathers:
            return LoopGatherer if self.on_loop else GatedGatherer
        return GatedLoopToy if self.on_loop else GatedToy


class TwoCutter(Cutter):
    """Makes two parts where `cuts` does not say."""

    def many(self, item: Item) -> int:
        return self.cuts.get(toys.called(item), 2) + self.settings.more


class LoopTwoCutter(LoopCutter, TwoCutter):
    """The same on the event loop."""


@dataclass
class Case:
    plans: Sequence[Plan]
    sources: Sequence[str]
    disturbances: Sequence[Disturbance]
    rate: int
    changed: str
    """The step whose settings change in the end."""

    @property
    def pipeline(self) -> Pipeline:
        return toys.line(*(plan.step for plan in self.plans))

    def overrides(self) -> list[str]:
        each = [override for plan in self.plans for override in plan.overrides()]
        return [*each, f"limits.concurrency={self.rate}"]

    def plan(self, name: str) -> Plan:
        return next(plan for plan in self.plans if plan.name == name)


NAMES = [f"v{number}{host}" for number in range(3) for host in ("", "@one")]

FINAL = st.sampled_from([["drop"], ["skip"], ["permanent"], ["transient", -1], ["bug", -1]])
PASSING = st.one_of(
    st.tuples(st.sampled_from(["transient", "bug"]), st.just(1)).map(list),
    st.tuples(st.just("throttled"), st.integers(1, 2), st.just(0.002)).map(list),
)
EXPAND = st.tuples(
    st.just("expand"), st.lists(st.sampled_from(NAMES), max_size=3), st.integers(0, 1)
).map(list)


def keys(depth: int) -> st.SearchStrategy[str]:
    """What items (depth 0), their parts (1), or the parts of those (2) are called."""
    positions = st.lists(st.integers(0, PARTS - 1), min_size=depth, max_size=depth)
    return st.builds(
        lambda name, at: "/".join([name, *map(str, at)]), st.sampled_from(NAMES), positions
    )


def readable(level: Level, other: Level) -> bool:
    """Whether a step at `level` may read what one at `other` makes."""
    return other == level[: len(other)] or other[:-1] == level


@st.composite
def cases(draw: st.DrawFn, most_steps: int = 7, depth: int = 2) -> Case:
    """Pipelines of up to so many steps, with parts of parts to this depth."""
    names = "abcdefgh"[: draw(st.integers(3, most_steps))]
    plans: list[Plan] = []
    levels: list[Level] = [()]
    for name in names:
        plan = draw(plans_after(name, plans, levels, depth))
        plans.append(plan)
        if plan.splits and len(plan.level) < depth:
            levels.append((*plan.level, name))
    read = {before for plan in plans for before in plan.reads}
    for plan in plans:
        if plan.name not in read:
            plan.options = {**plan.options, "keep": True}  # a result is kept: else it is refused
    splitting = [plan.name for plan in plans if plan.splits]
    kinds = st.sampled_from(["drain", "cancel", "resize", "give up", "expire"])
    changes = [(), *((f"stages.{name}.value=7",) for name in names)]
    changes += [(f"stages.{name}.more={more}",) for name in splitting for more in (1, 2)]
    disturbance = st.builds(Disturbance, kinds, st.integers(0, 120), st.sampled_from(changes))
    calm = st.builds(Disturbance, kinds, st.integers(0, 120))
    return Case(
        plans=plans,
        sources=draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)),
        disturbances=draw(st.lists(st.one_of(calm, disturbance), max_size=4)),
        rate=draw(st.integers(0, 2)),
        changed=draw(st.sampled_from(names)),
    )


@st.composite
def plans_after(
    draw: st.DrawFn, name: str, before: Sequence[Plan], levels: Sequence[Level], deepest: int
) -> Plan:
    level = draw(st.sampled_from(levels)) if len(before) != 1 else levels[-1]
    splits = draw(st.booleans()) if before and len(level) < deepest else not before
    after = set[str]()
    may = [plan.name for plan in before if readable(level, plan.level)]
    if may:
        after = draw(st.sets(st.sampled_from(may), max_size=3))
    if level:
        anchors = [level[-1], *(p.name for p in before if p.level == level)]
        anchors += [p.name for p in before if p.level[: len(level)] == level and p.name in may]
        if not after & set(anchors):
            after.add(draw(st.sampled_from(anchors)))
    far = {one for plan in before if plan.name in after for one in plan.upstream}
    further = far.intersection(may) - after
    further = draw(st.sets(st.sampled_from(sorted(further)), max_size=2)) if further else set()
    upstream = after | far
    if level:  # the step that makes its parts is before it in any case
        upstream |= {level[-1]} | next(p.upstream for p in before if p.name == level[-1])
    reads = [*sorted(after), *sorted(further)]
    by_name = {plan.name: plan for plan in before}
    gathers = [
        one
        for one in reads
        if (by_name[one].level[:-1] == level and by_name[one].level)
        or (by_name[one].splits and by_name[one].level == level)
    ]
    depth = len(level)
    options: dict[str, Any] = {
        "workers": draw(st.integers(1, 3)),
        "queue": draw(st.integers(1, 3)),
        "attempts": ATTEMPTS,
        "optional": not splits and draw(st.booleans()),
        "keep": draw(st.booleans()),
    }
    if splits:
        options["most_failed"] = draw(st.sampled_from([0, 1, 3, 0.5]))
    else:
        options["batch"] = draw(st.integers(1, 3))
    does = draw(endings(depth, splits=splits, lists=not gathers))
    cuts = draw(st.dictionaries(keys(depth), st.integers(0, PARTS), max_size=4)) if splits else {}
    return Plan(
        name,
        level,
        splits,
        sorted(after),
        reads,
        gathers,
        options,
        on_loop=draw(st.booleans()),
        resumes=draw(st.booleans()),
        needs=draw(st.integers(0, 3)) == 0,
        does=does,
        cuts=cuts,
        upstream=upstream,
    )


def endings(depth: int, *, splits: bool, lists: bool) -> st.SearchStrategy[Does]:
    if splits:
        return st.dictionaries(
            st.one_of(keys(depth), keys(depth + 1)), st.one_of(FINAL, PASSING, PASSING), max_size=2
        )
    more = [EXPAND] if lists and not depth else []
    words = st.one_of(FINAL, PASSING, *more)
    return st.dictionaries(keys(depth), words, max_size=4 if depth else 3)
