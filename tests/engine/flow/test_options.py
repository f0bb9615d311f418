"""Options: an item's own values of settings reach its steps, its parts too, and their outputs."""

import json
from pathlib import Path
from typing import Any

import engine
from engine import Item, Job, id_with_options, setting
from engine.contract.item import item_id
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, line, read_value, run, toy


class OwnToy(Toy):
    """A toy whose value an item may have of its own."""

    class Settings(engine.Settings):
        value: int = setting(0, "A number that stands in the output.", per_item=True)
        note: str = setting("", "Words that no item has of its own.")

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        own = self.settings_for(item)
        (out / "value.json").write_text(json.dumps([own.value, own.note]))


def test_a_step_has_the_items_own_values(tmp_path: Path) -> None:
    pipeline = line(toy("a", base=OwnToy), toy("b", "a", base=OwnToy))
    own = {"a.value": 3, "a.note": "not this", "c.value": 7, "other": 1}
    run(pipeline, tmp_path, [Job("x", "x", own), "y"], "stages.b.value=5")
    x, y = Item.at(tmp_path, "x", "x"), Item.at(tmp_path, "y")
    assert [read_value(x, "a"), read_value(x, "b")] == [[3, ""], [5, ""]]
    assert [read_value(y, "a"), read_value(y, "b")] == [[0, ""], [5, ""]]


def test_parts_have_those_of_their_item_and_are_redone_for_others(tmp_path: Path) -> None:
    pipeline = line(
        cut("a", cuts={"x": 2}), at("a", "b", base=OwnToy), at("a", "c"), gather("d", "b")
    )
    item = Item.at(tmp_path, "x", "x")
    for value in (3, 4, 4):
        run(pipeline, tmp_path, [Job("x", "x", {"b.value": value})])
        assert [read_value(part, "b") for part in item.parts_with("b")] == [[value, ""]] * 2
    done = executions(tmp_path)
    assert done["b", "x/a.parts/00000001"] == 2
    assert done["c", "x/a.parts/00000001"] == 1  # the same part, and no option of this step


def test_options_leave_a_pipelines_own_parameters_in_place(tmp_path: Path) -> None:
    pipeline = line(toy("a", base=OwnToy), parameters=lambda source: {"digest": source})
    seen: list[dict[str, Any]] = []
    pipeline[pipeline.names[0]].stage.gate = lambda self, item: seen.append(dict(item.parameters))
    run(pipeline, tmp_path, [Job("x", "x", {"a.value": 1}), Job("y", "y", {"given": 2})])
    assert {"digest": "x", "a.value": 1} in seen
    assert {"given": 2} in seen


def test_a_source_with_options_is_an_item_of_its_own() -> None:
    assert id_with_options("x", {}) == item_id("x")
    ids = {id_with_options("x", one) for one in ({}, {"a.b": 1}, {"a.b": 2}, {"a.b": 1, "a.c": 1})}
    assert len(ids) == 4
    assert id_with_options("x", {"a.b": 1, "a.c": 2}) == id_with_options("x", {"a.c": 2, "a.b": 1})
