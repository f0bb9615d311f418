"""`penstock retry` and `penstock status` where items have parts."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine import Item, Pipeline, Transient
from engine.cli.main import main
from engine.contract import registry
from engine.ledger.reader import LedgerReader
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import (
    Does,
    Toy,
    executions,
    leftovers,
    line,
    query,
    read_value,
    run_within,
    toy,
    tree,
    tries,
)

SECONDS = 20.0
ONCE = ("stages.f.attempts=1", "limits.backoff=0.002")
NONE_KEPT = ("stages.c.keep=false", "stages.f.keep=false")

Command = Callable[..., str]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Pipeline], Command]:
    """Registers a pipeline, and gives the command `penstock`, whose output it returns."""

    def register(pipeline: Pipeline) -> Command:
        monkeypatch.setattr(registry, "pipeline", lambda name: pipeline)

        def penstock(*words: Any, code: int = 0) -> str:
            told = CliRunner().invoke(main, [str(word) for word in words])
            if told.exception is not None and not isinstance(told.exception, SystemExit):
                assert code == 2, told.exception
                return str(told.exception)
            assert told.exit_code == code, told.output
            return told.output

        return penstock

    return register


def one_part_fails(source: str = "a", times: int = 1) -> Pipeline:
    does = {f"{source}/1": ["transient", times]}
    return line(cut("c"), at("c", "f", does=does), gather("g", "f"), unit="page")


def done(workdir: Path) -> set[tuple[str, str]]:
    """The stages that are done, and the items or parts that they are done with."""
    return set(query(workdir, "SELECT stage, item FROM stages WHERE outcome = 'done'"))


def gathered(workdir: Path, source: str, role: str = "f") -> list[int]:
    return [one[0] for one in read_value(Item.at(workdir, source), "g")["parts"][role]]


@pytest.mark.parametrize("keep", [(), NONE_KEPT])
def test_a_failed_part_is_tried_again_and_nothing_else(
    tmp_path: Path, use: Callable[[Pipeline], Command], keep: tuple[str, ...]
) -> None:
    pipeline = one_part_fails()
    penstock = use(pipeline)
    run_within(SECONDS, pipeline, tmp_path, ["a", "b"], *ONCE, *keep)
    before, finished = executions(tmp_path), done(tmp_path)
    told = penstock("status", tmp_path)
    assert "1 part failed in f: transient\n  a, part 2\n" in told
    told = penstock("retry", tmp_path)
    assert "trying again: 1 part of 1 page\n" in told
    assert gathered(tmp_path, "a") == [0, 1, 2]
    again = executions(tmp_path) - before
    assert ("f", Item.at(tmp_path, "a").part("c", 1).id) in again
    cut_again = {("c", Item.at(tmp_path, "a").id)} if keep else set()
    assert finished & set(again) <= cut_again  # where a part that nobody began with is gone
    status = json.loads(penstock("status", tmp_path, "--json"))
    assert (status["items"]["done"], status["parts"]["done"], status["gaps"]) == (2, 6, 0)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("keep", [(), NONE_KEPT])
def test_gaps_are_tried_again_only_when_asked_for(
    tmp_path: Path, use: Callable[[Pipeline], Command], keep: tuple[str, ...]
) -> None:
    pipeline = one_part_fails()
    penstock = use(pipeline)
    run_within(SECONDS, pipeline, tmp_path, ["a", "b"], *ONCE, "stages.c.most_failed=1", *keep)
    before = executions(tmp_path)
    told = penstock("status", tmp_path)
    assert "1 page is done without parts that failed; try those again: " in told
    assert f"penstock retry {tmp_path} --class transient --stage f --gaps\n" in told
    assert "trying again: 0 pages\n" in penstock("retry", tmp_path)
    assert executions(tmp_path) == before
    refused = penstock("retry", tmp_path, "--stage", "f", code=2)
    assert "add --gaps" in refused
    assert "trying again: 1 part of 1 page\n" in penstock("retry", tmp_path, "--gaps")
    assert gathered(tmp_path, "a") == [0, 1, 2]
    again = executions(tmp_path) - before
    assert not [id_ for _, id_ in again if id_.startswith(Item.at(tmp_path, "b").id)]
    if not keep:
        assert Counter(stage for stage, _ in again) == {"f": 1, "g": 1}
    assert "nothing that is done lacks a part" in penstock("retry", tmp_path, "--gaps", code=2)
    assert "without parts" not in penstock("status", tmp_path)


def test_only_the_parts_with_gaps_are_made_again(
    tmp_path: Path, use: Callable[[Pipeline], Command]
) -> None:
    """What failed for good keeps no input, so its part has to be made again; no other has."""

    def pipeline(does: Does) -> Pipeline:
        return line(cut("c"), at("c", "f", does=does), at("c", "h", "f"), gather("g", "f", "h"))

    penstock = use(pipeline({}))
    keep = ["stages.c.keep=false", "stages.c.most_failed=1"]
    run_within(SECONDS, pipeline({"a/1": ["permanent"]}), tmp_path, ["a", "b"], *keep)
    before, made = executions(tmp_path), (tmp_path / "cut").read_text()
    penstock("retry", tmp_path, "--gaps")
    assert gathered(tmp_path, "a") == [0, 1, 2]
    again = Counter(stage for stage, _ in executions(tmp_path) - before)
    assert (again["f"], again["h"], again["g"]) == (1, 1, 1)
    assert (tmp_path / "cut").read_text() == f"{made}{Item.at(tmp_path, 'a').id} 1\n"
    assert not leftovers(tmp_path)


def test_a_gap_that_stays_leaves_what_was_gathered(
    tmp_path: Path, use: Callable[[Pipeline], Command]
) -> None:
    pipeline = one_part_fails(times=-1)
    penstock = use(pipeline)
    run_within(SECONDS, pipeline, tmp_path, ["a", "b"], *ONCE, "stages.c.most_failed=1")
    with LedgerReader(tmp_path) as reader:
        assert [(record.source, record.gaps) for record in reader.item_records()] == [
            ("a", 1),
            ("b", 0),
        ]
    before, files = executions(tmp_path), tree(tmp_path)
    penstock("retry", tmp_path, "--gaps", code=1)
    assert Counter(stage for stage, _ in executions(tmp_path) - before) == {"f": 1}
    assert tree(tmp_path) == files
    with LedgerReader(tmp_path) as reader:
        assert reader.gaps() == 1


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize("through", [True, False])
def test_a_failed_part_of_a_part_is_tried_again(
    tmp_path: Path, use: Callable[[Pipeline], Command], most: int, through: bool
) -> None:
    """With a gap at the inner level, or the outer one, or a failed item; also where no step
    gathers the inner parts."""
    does = {"a/1/2": ["transient", 1]}
    steps = [cut("c"), cut("d", "c", each="c"), at("d", "f", "d", does=does)]
    steps += [gather("h", "f", each="c"), gather("g", "h")] if through else [gather("g", "d")]
    pipeline = line(*steps)
    penstock = use(pipeline)
    run_within(SECONDS, pipeline, tmp_path, ["a", "b"], *ONCE, f"stages.c.most_failed={most}")
    before, finished = executions(tmp_path), done(tmp_path)
    words = ["--gaps"] if most else []
    told = penstock("status", tmp_path)
    assert "  a, part 2.3\n" in told
    assert "trying again: 1 part of 1 item\n" in penstock("retry", tmp_path, *words)
    part = Item.at(tmp_path, "a").part("c", 1)
    again = executions(tmp_path) - before
    assert ("f", part.part("d", 2).id) in again
    redone = {("h", part.id), ("g", Item.at(tmp_path, "a").id)} if through else set()
    assert finished & set(again) <= redone  # these gathered without it
    if through:
        assert [one[0] for one in read_value(part, "h")["parts"]["f"]] == [0, 1, 2]
        assert gathered(tmp_path, "a", "h") == [0, 1, 2]
    status = json.loads(penstock("status", tmp_path, "--json"))
    assert (status["items"]["done"], status["gaps"], status["parts"]["failed"]) == (2, 0, 0)


def test_parts_of_a_failed_item_are_abandoned_until_it_is_tried_again(
    tmp_path: Path, use: Callable[[Pipeline], Command]
) -> None:
    def pipeline(does: Does) -> Pipeline:
        steps = [cut("c"), toy("w", "c", does=does), at("c", "f", "c", "w"), gather("g", "f")]
        return line(*steps, unit="page")

    run_within(SECONDS, pipeline({"a": ["permanent"]}), tmp_path, ["a", "b"])
    penstock = use(pipeline({}))
    told = penstock("status", tmp_path)
    assert told.splitlines()[2].split()[-2:] == ["Pending", "Abandoned"]
    assert ["parts", "6", "3", "0", "0", "0", "3"] in [row.split() for row in told.splitlines()]
    assert "3 parts are abandoned: their pages failed or were dropped; only a retry " in told
    counts = json.loads(penstock("status", tmp_path, "--json"))["parts"]
    assert (counts["entered"], counts["done"], counts["pending"], counts["abandoned"]) == (
        6, 3, 0, 3,
    )  # fmt: skip
    penstock("retry", tmp_path)
    assert "bandoned" not in penstock("status", tmp_path)
    counts = json.loads(penstock("status", tmp_path, "--json"))["parts"]
    assert (counts["done"], counts["abandoned"]) == (6, 0)


class Doubtful(Toy):
    """Writes how often it has tried a part, and fails an item whose parts were all tried once."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        (out / "tries").write_text(str(tries(self, item)))

    def judge(self, outputs: Iterator[Path]) -> None:
        if {(output / "tries").read_text() for output in outputs} == {"1"}:
            raise Transient("nothing came of it", kind="vain")


@pytest.mark.parametrize("keep", [(), NONE_KEPT])
def test_where_a_step_judged_an_item_its_parts_are_tried_again(
    tmp_path: Path, use: Callable[[Pipeline], Command], keep: tuple[str, ...]
) -> None:
    steps = [cut("c"), at("c", "e"), at("c", "f", "e", base=Doubtful), at("c", "h", "f")]
    steps += [cut("d", "f", each="c"), at("d", "k")]
    pipeline = line(*steps, gather("g", "f", "h"), unit="page")
    penstock = use(pipeline)
    run_within(SECONDS, pipeline, tmp_path, ["a"], *keep)
    before = executions(tmp_path)
    assert "1 page failed in f: vain\n" in penstock("status", tmp_path)
    assert "trying again: 3 parts of 1 page\n" in penstock("retry", tmp_path)
    assert gathered(tmp_path, "a") == [0, 1, 2]
    again = Counter(stage for stage, _ in executions(tmp_path) - before)
    assert (again["f"], again["h"], again["k"], again["g"]) == (3, 3, 9, 1)
    assert keep or (again["c"], again["e"]) == (0, 0)
    status = json.loads(penstock("status", tmp_path, "--json"))
    assert (status["items"]["done"], status["parts"]["done"], status["failures"]) == (1, 12, [])
    assert not leftovers(tmp_path)


def test_dropped_parts_are_tried_again_by_their_kind(
    tmp_path: Path, use: Callable[[Pipeline], Command]
) -> None:
    def pipeline(does: Does) -> Pipeline:
        return line(cut("c"), at("c", "f", does=does), gather("g", "f"))

    does = {f"a/{n}": ["drop"] for n in range(3)} | {"b/0": ["drop"]}
    run_within(SECONDS, pipeline(does), tmp_path, ["a", "b"])
    penstock = use(pipeline({}))
    assert "trying again: 0 items\n" in penstock("retry", tmp_path)
    finished = done(tmp_path)
    told = penstock("retry", tmp_path, "--class", "drop")
    assert "trying again: 4 parts of 2 items\n" in told
    assert gathered(tmp_path, "a") == gathered(tmp_path, "b") == [0, 1, 2]
    twice = {what for what, times in executions(tmp_path).items() if times > 1}
    assert twice & finished == {("g", Item.at(tmp_path, "b").id)}


def test_a_step_above_the_parts_is_tried_again_for_all_of_them(
    tmp_path: Path, use: Callable[[Pipeline], Command]
) -> None:
    def pipeline(does: Does) -> Pipeline:
        steps = [toy("w", does=does), cut("c"), at("c", "f", "c", "w"), gather("g", "f")]
        return line(*steps)

    run_within(SECONDS, pipeline({"a": ["permanent"]}), tmp_path, ["a", "b"])
    penstock = use(pipeline({}))
    assert "trying again: 1 item\n" in penstock("retry", tmp_path)
    assert gathered(tmp_path, "a") == [0, 1, 2]
    assert executions(tmp_path)["f", Item.at(tmp_path, "b").part("c", 0).id] == 1
