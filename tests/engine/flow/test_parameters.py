"""Items with parameters: what they change, who remembers them, and that they get everywhere."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import SOURCE, Item, Job, Pipeline, Stage, Step, UsageError
from engine.contract.item import item_id
from engine.flow.journey.graph import Graph
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE
from tests.engine.toys import Toy, executions, line, query, read_value, run, toy


class Shows(Toy):
    """Writes the parameters of its item too; the source "list" holds what they name."""

    def process(self, item: Item, out: Path) -> Any:
        (out / "parameters.json").write_text(json.dumps(dict(item.parameters)))
        if item.source == "list":
            self.act(item, out)
            return [item.child(name, parameters=more) for name, more in CHILDREN.items()]
        if item.source == "bad" and not item.parameters.get("good"):
            raise ValueError("told to")
        return self.act(item, out)


CHILDREN: Mapping[str, Mapping[str, Any]] = {"v1": {"width": 1}, "v2": {}}


class Elsewhere(Stage):
    """Writes its item's parameters, from a process of its own."""

    def process(self, item: Item, out: Path) -> None:
        (out / "parameters.json").write_text(json.dumps(dict(item.parameters)))

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[None]:
        for item, out in zip(items, outs, strict=True):
            self.process(item, out)
        return [None] * len(items)


def change(workdir: Path, sql: str) -> None:
    with closing(sqlite3.connect(workdir / FILE, isolation_level=None)) as db:
        db.execute(sql)


def shown(workdir: Path, source: str, stage: str = "a") -> Any:
    item = Item.at(workdir, source)
    return json.loads((item.output(stage) / "parameters.json").read_text())


def chain() -> Pipeline:
    return line(toy("a", base=Shows), toy("b", "a"))


def ran(workdir: Path, jobs: list[Any], *overrides: str) -> list[tuple[str, str]]:
    """Run; what was executed, by stage and source."""
    before = executions(workdir)
    run(chain(), workdir, jobs, *overrides)
    names = {item_id(source): source for source in ("v", "v1", "v2", "list", "bad")}
    return sorted((stage, names[id_]) for stage, id_ in (executions(workdir) - before).elements())


def test_other_parameters_do_an_item_again_and_the_latest_stay(fast: Path) -> None:
    wide, narrow = Job("v", parameters={"width": 8}), Job("v", parameters={"width": 4})
    both = [("a", "v"), ("b", "v")]
    assert ran(fast, [wide]) == both
    assert shown(fast, "v") == {"width": 8}
    assert ran(fast, [Job("v", parameters={"width": 8})]) == []
    assert ran(fast, [narrow]) == both
    assert shown(fast, "v") == {"width": 4}
    assert ran(fast, ["v"]) == both
    assert shown(fast, "v") == {}
    assert query(fast, "SELECT id, parameters FROM items") == [(item_id("v"), None)]


def test_ids_of_their_own_have_one_source_done_in_several_ways(fast: Path) -> None:
    jobs = [Job("v", f"v-{width}", {"width": width}) for width in (4, 8)]
    run(chain(), fast, jobs)
    for width in (4, 8):
        item = Item.at(fast, "v", f"v-{width}")
        assert json.loads((item.output("a") / "parameters.json").read_text()) == {"width": width}
        assert read_value(item, "b")["before"]["a"]["stage"] == "a"


def test_children_have_those_that_they_are_given_also_when_the_list_is_not_read_again(
    fast: Path,
) -> None:
    run(chain(), fast, [Job("list", parameters={"depth": 2})])
    assert shown(fast, "list") == {"depth": 2}
    assert [shown(fast, name) for name in CHILDREN] == list(CHILDREN.values())
    assert ran(fast, [Job("list", parameters={"depth": 2})]) == []
    again = "stages.b.value=1"
    assert ran(fast, [Job("list", parameters={"depth": 2})], again) == [("b", "v1"), ("b", "v2")]
    assert [shown(fast, name) for name in CHILDREN] == list(CHILDREN.values())


def test_what_is_pending_is_given_with_its_parameters(fast: Path) -> None:
    run(chain(), fast, [Job("bad", parameters={"width": 8}), "v"])
    change(fast, "UPDATE items SET outcome = 'pending'")
    with LedgerReader(fast) as reader:
        pending = list(reader.pending_items())
        records = {record.id: record.parameters for record in reader.item_records()}
    assert sorted(pending, key=lambda job: job.source) == [
        Job("bad", item_id("bad"), {"width": 8}),
        Job("v", item_id("v")),
    ]
    assert records == {item_id("bad"): {"width": 8}, item_id("v"): {}}
    assert ran(fast, pending) == [], "what had failed has the same fingerprint"
    assert ran(fast, [Job("bad", parameters={"good": True})]) == [("a", "bad"), ("b", "bad")]


def test_a_ledger_of_before_there_were_any_is_read_and_gains_them(fast: Path) -> None:
    run(chain(), fast, ["v"])
    change(fast, "UPDATE items SET outcome = 'pending'")
    change(fast, "ALTER TABLE items DROP COLUMN parameters")
    with LedgerReader(fast) as reader:
        assert list(reader.pending_items()) == [Job("v", item_id("v"))]
        assert [record.parameters for record in reader.item_records()] == [{}]
    assert ran(fast, ["v"]) == []
    assert ran(fast, [Job("v", parameters={"width": 8})]) == [("a", "v"), ("b", "v")]


@pytest.mark.parametrize("batch", [1, 2])
def test_parameters_get_to_where_a_stage_runs(tmp_path: Path, batch: int) -> None:
    jobs = [Job(f"v{width}", parameters={"width": width, "names": ["ü"]}) for width in (4, 8)]
    options = ["stages.elsewhere.placement=process", f"stages.elsewhere.batch={batch}"]
    run(line(Step(Elsewhere, SOURCE)), tmp_path, jobs, *options)
    for width in (4, 8):
        assert shown(tmp_path, f"v{width}", "elsewhere") == {"width": width, "names": ["ü"]}


def test_without_parameters_a_fingerprint_is_what_it_was() -> None:
    graph = Graph(chain(), {"a": {"value": 0}})
    assert graph.fingerprint("a", ()) == "e763967824a8af94e26601857136ff9f"
    with_some = {
        graph.fingerprint("a", (), Item.at(Path(), "v", parameters=values).parameters)
        for values in ({"width": 8}, {"width": 8.0}, {"width": [8]}, {"wide": 8})
    }
    assert len(with_some) == 4
    assert graph.fingerprint("a", ()) not in with_some


def test_a_job_with_an_id_is_taken_as_it_stands(fast: Path) -> None:
    def canonical(source: str) -> str:
        if "nonsense" in source:
            raise UsageError("it is none")
        return source.upper()

    pipeline = line(toy("a"), canonical=canonical)
    jobs = [Job("v", parameters={"width": 8}), Job("w", "own"), Job(" nonsense\n"), ("pair", "x")]
    run(pipeline, fast, jobs)
    found = dict(query(fast, "SELECT id, source FROM items"))
    assert found == {item_id("V"): "V", "own": "w", item_id("nonsense"): "nonsense", "pair": "x"}


def test_a_pipeline_has_parameters_for_items_that_come_without(tmp_path: Path) -> None:
    """Such as what a file holds: where that has changed, its item is done again."""
    file = tmp_path / "file"

    def parameters(source: str) -> Mapping[str, Any]:
        return {"content": (tmp_path / source).read_text()}

    def go() -> Any:
        pipeline = replace(line(toy("a", base=Shows)), parameters=parameters)
        return run(pipeline, tmp_path / "work", ["file", Job("other", parameters={"own": 1})])

    (tmp_path / "other").write_text("not asked for")
    file.write_text("one")
    go()
    assert shown(tmp_path / "work", "file") == {"content": "one"}
    assert shown(tmp_path / "work", "other") == {"own": 1}
    before = executions(tmp_path / "work")
    go()
    assert executions(tmp_path / "work") == before
    file.write_text("two")
    go()
    assert set(executions(tmp_path / "work") - before) == {("a", item_id("file"))}
    assert shown(tmp_path / "work", "file") == {"content": "two"}
