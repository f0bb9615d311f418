"""Splitting stages that end otherwise after they handed over parts, and what holds parts back."""

import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import SOURCE, Drop, Item, Permanent, Skip, Step, Throttled, checkpoint
from tests.engine.toy_parts import Cutter, at, cut, gather
from tests.engine.toys import (
    Toy,
    called,
    executions,
    leftovers,
    line,
    outcomes,
    query,
    read_value,
    run_within,
    toy,
    tries,
)

SECONDS = 20.0


class EndsLate(Cutter):
    """Ends otherwise once it has made its parts: as `how` says."""

    how: ClassVar[type[Exception]] = Skip

    def write_whole(self, item: Item, out: Path) -> None:
        if called(item) == "a":
            raise self.how("there was no more")


def rows(workdir: Path, source: str) -> dict[str, tuple[str, str | None]]:
    """What an item came to, by step."""
    whole = Item.at(workdir, source).id
    return {stage: end for (stage, id_), end in outcomes(workdir).items() if id_ == whole}


def parts_of(workdir: Path, source: str) -> tuple[int, list[Path]]:
    """Number of its parts in the ledger, and their folders."""
    item = Item.at(workdir, source)
    count = query(workdir, "SELECT count(*) FROM items WHERE parent = ? AND split = 'c'", item.id)
    return count[0][0], list(item.folder.glob("c.parts/*"))


def test_a_stage_that_skips_has_no_parts(tmp_path: Path) -> None:
    steps = [cut("c", base=EndsLate), at("c", "f"), gather("g", "f")]
    for _ in range(2):
        report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
        assert report.items["done"] == 2
        assert read_value(Item.at(tmp_path, "a"), "g")["parts"]["f"] == []
        assert parts_of(tmp_path, "a") == (0, [])
        assert parts_of(tmp_path, "b")[0] == 3
    assert executions(tmp_path)["c", Item.at(tmp_path, "a").id] == 1
    assert executions(tmp_path)["g", Item.at(tmp_path, "a").id] == 1


@pytest.mark.parametrize(("how", "outcome"), [(Drop, "dropped"), (Permanent, "failed")])
def test_an_item_that_ends_as_it_is_split_is_not_gathered(
    tmp_path: Path, how: type[Exception], outcome: str
) -> None:
    steps = [cut("c", base=EndsLate, how=how), at("c", "f"), gather("g", "f")]
    for _ in range(2):
        report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
        assert (report.items["done"], report.items[outcome]) == (1, 1)
        found = rows(tmp_path, "a")
        assert found["c"][0] == outcome
        assert "g" not in found
    assert executions(tmp_path)["c", Item.at(tmp_path, "a").id] == 1
    assert leftovers(tmp_path) == []


class Dawdles(Cutter):
    """Takes too long after two parts, the first time."""

    def write(self, item: Item, position: int, folder: Path) -> None:
        while position == 2 and tries(self, item) == 1:
            checkpoint()
        super().write(item, position, folder)


def test_a_split_that_runs_out_of_time_goes_on_after_its_last_part(tmp_path: Path) -> None:
    steps = [cut("c", base=Dawdles), at("c", "f"), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.timeout=0.3")
    assert report.items["done"] == 1
    made = (tmp_path / "cut").read_text().splitlines()
    assert sorted(one.split()[1] for one in made) == ["0", "1", "2"]
    assert {n for (stage, _), n in executions(tmp_path).items() if stage == "f"} == {1}
    kinds = query(tmp_path, "SELECT outcome, kind FROM attempts WHERE stage = 'c' ORDER BY id")
    assert kinds == [("retried", "timeout"), ("done", None)]
    assert leftovers(tmp_path) == []


class DiesOnce(Cutter):
    """Its process dies before its third part, the first time."""

    name = "c"

    def write(self, item: Item, position: int, folder: Path) -> None:
        super().write(item, position, folder)
        if position == 2 and tries(self, item) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class PartDiesOnce(Toy):
    """Its process dies with the second part, the first time."""

    name = "f"
    optional_inputs = ("c",)

    def act(self, item: Item, out: Path) -> Any:
        answer = super().act(item, out)
        if item.position == 1 and tries(self, item) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def test_a_worker_process_that_dies_costs_one_part_another_attempt(tmp_path: Path) -> None:
    steps = [
        Step(DiesOnce, after=SOURCE),
        Step(PartDiesOnce, after="c", each="c"),
        gather("g", "f"),
    ]
    places = ["stages.c.placement=process", "stages.f.placement=process"]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"], *places)
    assert report.items["done"] == 1
    again = {key for key, times in executions(tmp_path).items() if times > 1}
    item = Item.at(tmp_path, "a")
    in_hand = {("c", item.part("c", 2).id), ("f", item.part("c", 1).id)}
    assert again == {("c", item.id), *in_hand}
    assert [one[0] for one in read_value(item, "g")["parts"]["f"]] == [0, 1, 2]
    assert leftovers(tmp_path) == []


class Gated(Toy):
    """Parts go through one gate; the second part is turned away once."""

    def gate(self, item: Item) -> str | None:
        return "example.org"

    def act(self, item: Item, out: Path) -> Any:
        answer = super().act(item, out)
        if called(item) == "a/1" and tries(self, item) < 3:
            raise Throttled("slow down", after=0.01)
        return answer


def test_a_part_that_is_turned_away_costs_no_attempt_and_no_gap(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f", base=Gated), gather("g", "f")]
    settings = ["stages.f.attempts=1", "stages.f.workers=2", "stages.f.queue=1"]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], *settings)
    assert report.items == {"done": 2, "dropped": 0, "failed": 0, "reused": 0}
    assert report.gaps == 0
    tried = "SELECT outcome, attempt FROM attempts WHERE stage = 'f' AND outcome != 'done'"
    assert set(query(tmp_path, tried)) == {("throttled", 1)}
    item = Item.at(tmp_path, "a")
    assert [one[0] for one in read_value(item, "g")["parts"]["f"]] == [0, 1, 2]


class OnTheDevice(Toy):
    def needs(self) -> dict[str, int]:
        return {"cuda:0": 1}


class CutsOnTheDevice(Cutter):
    needs = OnTheDevice.needs  # type: ignore[assignment]


def test_steps_that_share_a_device_do_not_wait_for_one_another(tmp_path: Path) -> None:
    """The splitting stage gives the device back while it waits for room."""
    many = dict.fromkeys("abc", 12)
    steps = [
        cut("c", base=CutsOnTheDevice, cuts=many),
        at("c", "f", base=OnTheDevice),
        gather("g", "f"),
    ]
    settings = ["stages.f.queue=1", "stages.f.workers=1", "stages.c.workers=2"]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b", "c"], *settings)
    assert report.items["done"] == 3
    assert set(executions(tmp_path).values()) == {1}


def test_items_of_a_list_are_split_and_the_list_is_not(tmp_path: Path) -> None:
    lists = toy("w", does={"list": ["expand", ["a", "b"]]})
    steps = [lists, cut("c", "w"), at("c", "f"), gather("g", "f")]
    for _ in range(2):
        report = run_within(SECONDS, line(*steps), tmp_path, ["list", "c"])
        assert report.items["done"] == 4
        assert parts_of(tmp_path, "list") == (0, [])
        for source in "abc":
            seen = read_value(Item.at(tmp_path, source), "g")["parts"]["f"]
            assert [one[0] for one in seen] == [0, 1, 2]
    assert set(executions(tmp_path).values()) == {1}
