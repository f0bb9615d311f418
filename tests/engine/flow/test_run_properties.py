"""Any graph, any endings, any disturbance: every item is accounted for, once, and ends as it must.

A model of a page computes how each item has to end; runs that are resized, drained and cancelled at
random moments, and then run again until they complete, have to come to the same.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Pipeline, Step
from engine.contract.item import item_id
from engine.flow.report import RunReport
from tests.engine import toys
from tests.engine.disturbed import Disturbance, run_once
from tests.engine.toys import Does, GatedLoopToy, GatedToy, end_of, executions, toy

ATTEMPTS = 3


@dataclass
class Plan:
    """A stage of the random pipeline, and what it does to which item."""

    name: str
    after: Sequence[str]
    reads: Sequence[str]
    """What it comes after, and some of what comes before that."""
    options: Mapping[str, int | bool]
    on_loop: bool
    does: Does
    upstream: set[str] = field(default_factory=set)

    def overrides(self) -> list[str]:
        return [f"stages.{self.name}.{key}={json.dumps(v)}" for key, v in self.options.items()]


@dataclass
class Case:
    plans: Sequence[Plan]
    sources: Sequence[str]
    disturbances: Sequence[Disturbance]
    rate: int
    changed: str
    """The stage whose settings change in the end."""

    @property
    def pipeline(self) -> Pipeline:
        return toys.line(*map(self._step, self.plans))

    def _step(self, plan: Plan) -> Step:
        base = GatedLoopToy if plan.on_loop else GatedToy
        return toy(plan.name, *plan.after, base=base, does=plan.does, optional_inputs=plan.reads)

    def overrides(self) -> list[str]:
        each = [override for plan in self.plans for override in plan.overrides()]
        return [*each, f"limits.concurrency={self.rate}"]


NAMES = [f"v{number}{host}" for number in range(9) for host in ("", "@one", "@two")]

ENDINGS = st.one_of(
    st.sampled_from([["drop"], ["skip"], ["permanent"], ["transient", -1], ["bug", -1]]),
    st.tuples(st.sampled_from(["transient", "bug"]), st.integers(1, ATTEMPTS - 1)).map(list),
    st.tuples(st.just("throttled"), st.integers(1, 3), st.just(0.002)).map(list),
    st.tuples(
        st.just("expand"),
        st.lists(st.sampled_from(NAMES), max_size=5),
        st.integers(0, ATTEMPTS - 1),
    ).map(list),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = "abcdef"[: draw(st.integers(2, 6))]
    plans = []
    for index, name in enumerate(names):
        after = draw(st.sets(st.sampled_from(names[:index]), max_size=3)) if index else set()
        far = {name for before in plans if before.name in after for name in before.upstream}
        further = draw(st.sets(st.sampled_from(sorted(far)), max_size=2)) if far else set()
        options = {
            "workers": draw(st.integers(1, 3)),
            "queue": draw(st.integers(1, 3)),
            "attempts": ATTEMPTS,
            "optional": draw(st.booleans()),
            "keep": draw(st.booleans()),
            "batch": draw(st.integers(1, 3)),
        }
        does = draw(st.dictionaries(st.sampled_from(NAMES), ENDINGS, max_size=6))
        reads = [*sorted(after), *sorted(further - after)]
        plan = Plan(name, sorted(after), reads, options, draw(st.booleans()), does)
        plan.upstream = after | far
        plans.append(plan)
    read = {before for plan in plans for before in plan.after}
    for plan in plans:
        plan.options["keep"] |= plan.name not in read  # a result is kept: anything else is refused
    kinds = st.sampled_from(["drain", "cancel", "resize", "give up", "expire"])
    disturbance = st.builds(Disturbance, kinds, st.integers(0, 80))
    return Case(
        plans=plans,
        sources=draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=10)),
        disturbances=draw(st.lists(disturbance, max_size=4)),
        rate=draw(st.integers(0, 2)),
        changed=draw(st.sampled_from(names)),
    )


# The model


@dataclass
class Expected:
    """How every stage ends with every item that enters it, and what it leaves, by (stage, id)."""

    stages: dict[tuple[str, str], str] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    skipped: set[tuple[str, str]] = field(default_factory=set)


def model(case: Case, begun: Collection[tuple[str, str]]) -> Expected:
    """`begun` says which stages had which items: an item that has failed or been dropped in one
    branch may or may not have gone on in another."""
    expected, queue = Expected(), list(case.sources)
    while queue:
        source = queue.pop()
        if item_id(source) not in expected.items:
            queue += _travel(case, source, expected, begun)
    return expected


def _travel(
    case: Case, source: str, expected: Expected, begun: Collection[tuple[str, str]]
) -> list[str]:
    ends: dict[str, str] = {}
    withdrawn: list[str] = []
    values: dict[str, Any] = {}
    children: list[str] = []
    optional = {plan.name for plan in case.plans if plan.options["optional"]}
    for plan in case.plans:
        well = ("done", "done skipped")
        if not all(ends.get(b) in well or (b in optional and b in ends) for b in plan.after):
            continue
        if any(before not in values and ends[before] == "expanded" for before in plan.after):
            continue
        if (plan.name, item_id(source)) not in begun:
            withdrawn.append(plan.name)
            continue
        word, *arguments = plan.does.get(source, ["done"])
        ends[plan.name] = end_of([word, *arguments])
        if ends[plan.name] == "done":
            before = {name: values.get(name) for name in plan.reads}
            values[plan.name] = {"stage": plan.name, "value": 0, "before": before}
        if ends[plan.name] == "expanded":
            children += arguments[0]
    decisive = {end.partition(" ")[0] for name, end in ends.items() if name not in optional}
    id_ = item_id(source)
    expected.items[id_] = next((o for o in ("failed", "dropped") if o in decisive), "done")
    if withdrawn:
        assert decisive & {"failed", "dropped"}, f"{source} has not been in {withdrawn}"
    for plan in case.plans:
        if plan.name in ends:
            end = ends[plan.name]
            expected.stages[plan.name, id_] = "done" if end == "expanded" else end.split()[0]
            if end == "done skipped":
                expected.skipped.add((plan.name, id_))
            readers = [ends.get(p.name) for p in case.plans if plan.name in p.reads]
            mendable = "failed retryable" in (ends.values() if None in readers else readers)
            if end == "done" and (plan.options["keep"] or mendable):
                expected.values[plan.name, id_] = values[plan.name]
    return children


def redone(case: Case, expected: Expected) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What a change of one stage's settings makes necessary, and what it may make necessary.

    That stage, what comes after it, and what these read and is not there any more. Nobody knows
    beforehand how they end this time: what would be read if they ended well is made as well.

    An item that is decided elsewhere stays so, and nothing begins with it. One that was decided by
    what is done again may go on anywhere, or be decided before.
    """
    after = {case.changed}
    for plan in case.plans:
        if after.intersection(plan.after):
            after.add(plan.name)
    optional = {plan.name for plan in case.plans if plan.options["optional"]}
    deciding: dict[str, set[str]] = {}
    for (stage, id_), end in expected.stages.items():
        if end in ("failed", "dropped") and stage not in optional:
            deciding.setdefault(id_, set()).add(stage)
    stay = {id_ for id_, stages in deciding.items() if not stages <= after}
    due = {(case.changed, id_) for id_ in expected.items if id_ not in stay} & set(expected.stages)
    for plan in case.plans:
        for id_ in expected.items.keys() - deciding.keys():
            changed = (name for name in plan.reads if (name, id_) in due)
            if (plan.name, id_) in expected.stages and any(
                expected.stages[name, id_] == "done" and (name, id_) not in expected.skipped
                for name in changed
            ):
                due.add((plan.name, id_))  # an output that is not there is the same as before
    hoped = {
        (plan.name, id_)
        for id_ in expected.items
        for plan in case.plans
        if (plan.name in after or id_ in deciding)
        and (case.changed, id_) in expected.stages
        and id_ not in stay
    }
    return _with_what_they_read(case, expected, due), _with_what_they_read(case, expected, hoped)


def _with_what_they_read(
    case: Case, expected: Expected, stages: set[tuple[str, str]]
) -> set[tuple[str, str]]:
    found = set(stages)
    for plan in reversed(case.plans):
        for stage, id_ in list(found):
            if stage == plan.name:
                gone = ((name, id_) for name in plan.reads if (name, id_) not in expected.values)
                gone = (key for key in gone if key not in expected.skipped)
                found.update(key for key in gone if expected.stages.get(key) == "done")
    return found


# The runs


def run_to_the_end(case: Case, workdir: Path) -> RunReport:
    """Run with every disturbance in turn, then without; what was settled is not done again."""
    settled: set[tuple[str, str]] = set()
    for disturbance in disturbances(case):
        before = executions(workdir)
        report = run_once(case, workdir, disturbance)
        again = {key for key in executions(workdir) - before if key in settled}
        assert not again, "what had been settled was done again"
        settled = {key for key, (end, _) in toys.outcomes(workdir).items() if end != "pending"}
    assert report is not None
    return report


def disturbances(case: Case) -> Iterator[Disturbance | None]:
    yield from case.disturbances
    yield None


def broke_off(case: Case, workdir: Path, begun: Collection[tuple[str, str]]) -> bool:
    """Whether the reading of a list broke off for good: another branch had decided it meanwhile.
    The items that it had given by then stand, and no later run meets them; the model has none."""
    lists = {parent for (parent,) in toys.query(workdir, "SELECT parent FROM expansions")}
    return any(
        item_id(source) in lists and (plan.name, item_id(source)) not in begun
        for plan in case.plans
        for source, (word, *_) in plan.does.items()
        if word == "expand"
    )


def check(case: Case) -> None:
    with toys.fast_folder() as workdir:
        (workdir / "items").mkdir()
        report = run_to_the_end(case, workdir)
        found = {key: outcome for key, (outcome, _) in toys.outcomes(workdir).items()}
        if broke_off(case, workdir, found):
            return
        expected = model(case, found)
        assert report.outcome == "done"
        assert found == expected.stages
        items = dict(toys.query(workdir, "SELECT id, outcome FROM items"))
        assert items == expected.items
        assert sum(report.items[o] for o in ("done", "dropped", "failed")) == len(items)
        values = {
            path: json.loads(text)
            for path, text in toys.tree(workdir, marks=False).items()
            if path.endswith("value.json") and not _is_expanded(case, path)
        }
        assert values == {
            f"{id_}/{stage}/value.json": value for (stage, id_), value in expected.values.items()
        }
        assert toys.leftovers(workdir) == []
        before = executions(workdir)
        assert run_once(case, workdir, None) is not None
        assert executions(workdir) == before, "a rerun of what is complete did something"
        value = f"stages.{case.changed}.value=1"
        assert run_once(case, workdir, None, value) is not None
        again, (due, hoped) = set(executions(workdir) - before), redone(case, expected)
        assert due <= again, f"missing: {due - again}"
        assert again <= hoped, f"too much: {again - hoped}"
        before = executions(workdir)
        assert run_once(case, workdir, None, value) is not None
        assert executions(workdir) == before, "a rerun after a change did something"
        assert toys.leftovers(workdir) == []


def _is_expanded(case: Case, path: str) -> bool:
    id_, stage, _ = path.split("/")
    does = next(plan.does for plan in case.plans if plan.name == stage)
    return any(item_id(s) == id_ and words[0] == "expand" for s, words in does.items())


@given(cases())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_item_is_accounted_for_whatever_happens(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(cases())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_item_is_accounted_for_in_many_cases(case: Case) -> None:
    check(case)
