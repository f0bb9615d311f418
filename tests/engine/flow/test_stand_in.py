"""Stand-ins: outputs in the place of the real ones, which the next run makes."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import Item, StandIn, Step
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, line, query, read_value, run_within, toy

SECONDS = 20.0
PREVIEW = "stages.f.note=preview"


class Draws(Toy):
    """Stands in for what is not there yet, where the run is a preview."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        if self.settings.note == "preview":
            (out / "value.json").write_text(json.dumps({"stage": "stand-in"}))
            raise StandIn("not yet")


class LoopDraws(Draws):
    """The same on the event loop."""

    async def process(self, item: Item, out: Path) -> Any:
        return self.act(item, out)


@pytest.mark.parametrize("base", [Draws, LoopDraws])
@pytest.mark.parametrize("together", [1, 3])
def test_the_next_run_makes_the_real_one_and_nothing_else(
    tmp_path: Path, base: type[Toy], together: int
) -> None:
    steps = [toy("e"), toy("f", "e", base=base), toy("g", "f"), toy("h", "e")]
    sets = [f"stages.f.batch={together}"] if base is Draws else []
    first = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], PREVIEW, *sets)
    assert (first.items["done"], first.exit_code) == (2, 0)
    item = Item.at(tmp_path, "a")
    assert read_value(item, "g")["before"] == {"f": {"stage": "stand-in"}}
    before = executions(tmp_path)
    real = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], *sets)
    assert (real.items["done"], real.items["reused"]) == (2, 0)
    again = executions(tmp_path) - before
    assert {stage for stage, _ in again} == {"f", "g"}
    assert read_value(item, "g")["before"]["f"]["stage"] == "f"
    # What is real stands: a preview of it makes nothing.
    preview = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], PREVIEW, *sets)
    assert preview.items["reused"] == 2


def test_of_the_parts_only_those_that_stood_in_are_made_again(tmp_path: Path) -> None:
    real = at("c", "f", base=Draws, does={"a/1": ["permanent"]})
    steps = [cut("c"), real, at("c", "h", "f"), gather("g", "h")]
    some = "stages.c.most_failed=1"
    run_within(SECONDS, line(*steps), tmp_path, ["a"], some, PREVIEW)
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], some, PREVIEW)
    assert {stage for stage, _ in executions(tmp_path) - before} == {"f"}, "they stand in again"
    run_within(SECONDS, line(*steps), tmp_path, ["a"], some)
    seen = read_value(Item.at(tmp_path, "a"), "g")["parts"]["h"]
    before_h = [(position, value["before"]["f"]["stage"]) for position, _, value in seen]
    assert before_h == [(0, "f"), (2, "f")], "it was gathered anew"
    assert query(tmp_path, "SELECT count(*) FROM stages WHERE fingerprint LIKE '%~'") == [(0,)]


def test_a_stage_that_splits_cannot_stand_in(tmp_path: Path) -> None:
    step = cut("c")
    made = type("Cuts", (step.stage,), {"write_whole": _stands_in, "name": "c"})
    steps = [Step(made, after=step.after), at("c", "f"), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.attempts=1")
    assert report.items["failed"] == 1
    assert "split() cannot raise StandIn" in report.failures[0].example_reason


def _stands_in(stage: Any, item: Item, out: Path) -> None:
    raise StandIn("not yet")
