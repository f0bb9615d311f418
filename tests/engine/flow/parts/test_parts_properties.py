"""Any graph with splits, any endings, any disturbance: every part is accounted for, once, at each
step of its level, and a step that gathers sees exactly those that ended well, in order.

A model (parts_model.py) computes how each item and part has to end. Runs that are resized, drained
and cancelled at random moments, with other settings too, and then run again until they complete,
have to come to the same.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from engine.contract.item import PARTS
from engine.flow.report import RunReport
from engine.telemetry.events import Event, PartEnded, PartEntered
from tests.engine import toys
from tests.engine.disturbed import Disturbance, run_once
from tests.engine.flow.parts.parts_cases import Case, cases
from tests.engine.flow.parts.parts_model import Model, Node
from tests.engine.toys import executions


def found_in(workdir: Path) -> dict[tuple[str, str], str]:
    return {key: outcome for key, (outcome, _) in toys.outcomes(workdir).items()}


def parts_in(workdir: Path) -> dict[tuple[str, str], list[int]]:
    rows = toys.query(
        workdir, "SELECT parent, split, position FROM items WHERE split IS NOT NULL ORDER BY id"
    )
    found: dict[tuple[str, str], list[int]] = {}
    for parent, split, position in rows:
        found.setdefault((parent, split), []).append(position)
    return found


def entered_last(workdir: Path) -> set[str]:
    """The items that entered the last run."""
    rows = toys.query(
        workdir, "SELECT id FROM items WHERE entered_run = (SELECT max(entered_run) FROM items)"
    )
    return {id_ for (id_,) in rows}


def root_id(id_: str) -> str:
    """The id of the item that this is, or is a part of."""
    return id_.partition("/")[0]


def values_in(workdir: Path) -> dict[str, Any]:
    return {
        path.removesuffix("/value.json"): json.loads(text)
        for path, text in toys.tree(workdir, marks=False).items()
        if path.endswith("/value.json")
    }


def run_to_the_end(case: Case, workdir: Path) -> RunReport:
    """Run with every disturbance in turn, then without; what was settled is not done again."""
    settled: set[tuple[str, str]] = set()
    since: set[tuple[str, str]] = set()
    """What was executed with the same settings as now."""
    with_settings: tuple[str, ...] | None = None
    for disturbance in (*case.disturbances, Disturbance("none", -1)):
        before = executions(workdir)
        overrides = tuple(disturbance.overrides)
        told = Told()
        report = run_once(case, workdir, disturbance, *overrides, listen=told)
        assert told.wrong == []
        executed = set(executions(workdir) - before)
        if with_settings != overrides:
            since, with_settings = set(), overrides
        again = settled & executed & since
        assert not again, f"what had been settled was done again: {again}"
        since |= executed
        settled = {key for key, end in found_in(workdir).items() if end != "pending"}
    assert report is not None
    return report


class Told:
    """Listens to the parts: each enters once, and ends at most once. One that is abandoned has left
    the run: it may enter again with its item."""

    def __init__(self) -> None:
        self.entered = Counter[str]()
        self.ended = Counter[str]()
        self.wrong: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, PartEntered):
            self.entered[event.item] += 1
            self._check(event.item)
        if isinstance(event, PartEnded) and event.outcome == "abandoned":
            self.entered[event.item] -= 1
        elif isinstance(event, PartEnded):
            self.ended[event.item] += 1
            self._check(event.item)

    def _check(self, part: str) -> None:
        if not 1 >= self.entered[part] >= self.ended[part]:
            self.wrong.append(f"{part}: {self.entered[part]} in, {self.ended[part]} out")


def check_state(case: Case, workdir: Path, report: RunReport, numbers: dict[str, int]) -> Model:
    """Hold the ledger and the folders of a completed run against the model."""
    assert report.outcome == "done"
    found, parts = found_in(workdir), parts_in(workdir)
    model = Model(case, found, parts, numbers)
    left = model.leave(entered_last(workdir))
    found = {key: end for key, end in found.items() if root_id(key[1]) not in left}
    nodes = [node for root in model.roots.values() for node in root.here_and_below()]
    expected = {
        (name, node.id): end.split()[0] for node in nodes for name, end in node.ends.items()
    }
    expected = {key: "done" if end == "expanded" else end for key, end in expected.items()}
    decided = {node.id for node in nodes if node.above is not None and model.is_decided(node)}
    # Nothing is done again with parts of a decided item: an end of other settings may stand.
    now = {key: end for key, end in found.items() if key in expected or key[1] not in decided}
    assert now == expected, sorted(now.items() ^ expected.items())
    for node in nodes:
        assert not node.missing or model.is_decided(node), f"{node.called}: not in {node.missing}"
        assert not node.is_extra or (node.above is not None and model.is_decided(node.above)), (
            f"{node.called} is no part any more"
        )
    rows = toys.query(workdir, "SELECT id, outcome FROM items")
    rows = [row for row in rows if root_id(row[0]) not in left]
    items = {node.id: model.outcome(node) for node in nodes}
    free = {node.id for node in nodes if node.above is not None and model.is_decided(node.above)}
    assert items.keys() == dict(rows).keys(), items.keys() ^ dict(rows).keys()
    for id_, outcome in rows:
        assert outcome == items[id_] or (id_ in free and outcome == "pending"), id_
    ended = sum(report.items[how] for how in ("done", "dropped", "failed"))
    assert ended == len(model.roots)
    check_parts(model, nodes, parts, workdir)
    values = values_in(workdir)
    check_values(case, model, {p: v for p, v in values.items() if root_id(p) not in left})
    assert toys.leftovers(workdir) == []
    return model


def check_parts(
    model: Model, nodes: list[Node], parts: dict[tuple[str, str], list[int]], workdir: Path
) -> None:
    """The parts that there are, in the ledger and on the disk, are those that were made."""
    for node in nodes:
        if model.is_decided(node):
            continue
        for split, made in node.parts.items():
            positions = [part.item.position for part in made]
            assert parts.get((node.id, split), []) == positions
            folder = workdir / "items" / node.id / f"{split}{PARTS}"
            there = sorted(int(one.name) for one in folder.iterdir()) if folder.exists() else []
            assert there == positions, f"{node.id} {split}: {there} instead of {positions}"


def check_values(case: Case, model: Model, values: dict[str, Any]) -> None:
    made: dict[str, Any] = {}
    kept: set[str] = set()
    stale: set[str] = set()
    gone: set[str] = set()
    decided: set[str] = set()
    for root in model.roots.values():
        nodes = list(root.here_and_below())
        mendable = any("failed retryable" in node.ends.values() for node in nodes)
        is_clean = not mendable and model.outcome(root) == "done"
        for node in nodes:
            if node.above is not None and model.is_decided(node):
                decided.add(node.id)
            own = {node.item.split: node.piece} if node.piece is not None else {}
            for name, value in (*node.values.items(), *own.items()):
                path = f"{node.id}/{name}"
                made[path] = value
                if model.is_decided(node):
                    stale.add(path)  # no step begins with it: what stands may be of other settings
                if case.plan(name).options["keep"]:
                    kept.add(path)
                elif is_clean and not any(map(model.is_decided, node.here_and_below())):
                    gone.add(path)
    for path, value in values.items():
        if path in stale:
            continue
        if path in made:
            assert value == made[path], f"{path}: {value} and not {made[path]}"
        elif path.rpartition("/")[0] not in decided:
            assert is_lists(case, model, path), f"{path} is no output of a step that ended well"
    assert kept <= values.keys(), kept - values.keys()
    assert not gone & values.keys(), f"no step reads them any more: {gone & values.keys()}"


def is_lists(case: Case, model: Model, path: str) -> bool:
    """Whether it is the output of an item that turned out to be a list."""
    id_, _, name = path.rpartition("/")
    return id_ in model.roots and model.roots[id_].ends.get(name) == "expanded"


def check(case: Case) -> None:
    with toys.fast_folder() as workdir:
        (workdir / "items").mkdir()
        report = run_to_the_end(case, workdir)
        numbers = {plan.name: 0 for plan in case.plans}
        model = check_state(case, workdir, report, numbers)
        rerun_does_nothing(case, workdir)
        before = executions(workdir)
        value = f"stages.{case.changed}.value=1"
        changed = run_once(case, workdir, None, value)
        assert changed is not None and changed.outcome == "done", changed
        again = set(executions(workdir) - before)
        check_again(case, model, again)
        check_state(case, workdir, changed, numbers | {case.changed: 1})
        rerun_does_nothing(case, workdir, value)


def rerun_does_nothing(case: Case, workdir: Path, *overrides: str) -> None:
    before, tree = executions(workdir), toys.tree(workdir)
    assert run_once(case, workdir, None, *overrides) is not None
    again = executions(workdir) - before
    assert not again, f"a rerun of what is complete did something: {again}"
    assert toys.tree(workdir) == tree


def check_again(case: Case, model: Model, again: set[tuple[str, str]]) -> None:
    """A changed setting redoes its step, what follows, and what these read that is gone."""
    after = {case.changed}
    for plan in case.plans:
        if after.intersection(plan.reads) or after.intersection(plan.level):
            after.add(plan.name)
    nodes = [node for root in model.roots.values() for node in root.here_and_below()]
    due = {
        (case.changed, node.id)
        for node in nodes
        if case.changed in node.ends
        and case.plan(case.changed).level == level_of(case, node)
        and not any(model.is_decided(one) for one in root_of(node).here_and_below())
    }
    assert due <= again, f"missing: {due - again}"
    by_id = {node.id: node for node in nodes}
    for name, id_ in again:
        node = by_id.get(id_)
        if node is None or any(model.is_decided(one) for one in root_of(node).here_and_below()):
            continue  # what decided it is done again, and it may go on elsewhere meanwhile
        assert name in after or not case.plan(name).options["keep"], f"too much: {name} {id_}"


def root_of(node: Node) -> Node:
    return node if node.above is None else root_of(node.above)


def level_of(case: Case, node: Node) -> tuple[str, ...]:
    split = node.item.split
    return (*case.plan(split).level, split) if split else ()


CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(cases(most_steps=5, depth=1))
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=CALM)
def test_every_part_is_accounted_for_whatever_happens(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(cases(most_steps=5, depth=1))
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=CALM)
def test_every_part_is_accounted_for_in_many_cases(case: Case) -> None:
    check(case)


@pytest.mark.torture
@pytest.mark.timeout(7200)
@given(cases(most_steps=5, depth=1))
@settings(max_examples=3000, deadline=None, suppress_health_check=CALM)
def test_every_part_is_accounted_for_in_thousands_of_cases(case: Case) -> None:
    check(case)


@pytest.mark.torture
@pytest.mark.timeout(7200)
@given(cases())
@settings(max_examples=1000, deadline=None, suppress_health_check=CALM)
def test_parts_of_parts_are_accounted_for_too(case: Case) -> None:
    check(case)
