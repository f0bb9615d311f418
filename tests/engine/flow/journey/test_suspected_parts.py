"""A part that kills the run, or a stage that dies as it splits: what goes wrong with them alone."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from engine import Item
from engine.ledger.outputs.folders import open_scratch
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from tests.engine.part_killer_command import ITEMS, KILLER, PARTS
from tests.engine.toy_parts import Cutter, at, cut, gather
from tests.engine.toys import Toy, leftovers, line, outcomes, query, read_value, run, run_within

PART = int(KILLER.partition("/")[2])


def runs_until_one_ends(kind: str, workdir: Path, attempts: int, most: int = 12) -> int:
    command = [sys.executable, "-m", "tests.engine.part_killer_command", kind, str(workdir)]
    for number in range(1, most + 1):
        ran = subprocess.run([*command, str(attempts)], capture_output=True, timeout=60)
        if ran.returncode != -signal.SIGKILL:
            assert not ran.stderr, ran.stderr.decode()
            return number
    pytest.fail(f"still killed after {most} runs")


def killer(workdir: Path) -> Item:
    """The item that has the part that kills."""
    return Item.at(workdir, KILLER.partition("/")[0])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "runs"), [("part-module", 2), ("part-loop", 4)])
def test_a_part_that_kills_the_run_fails_and_no_other_does(
    tmp_path: Path, kind: str, runs: int
) -> None:
    assert runs_until_one_ends(kind, tmp_path, attempts=2) <= runs
    part = killer(tmp_path).part("cut", PART)
    found = {key: end for key, end in outcomes(tmp_path).items() if end != ("done", None)}
    assert found == {("deadly", part.id): ("failed", "crashed")}
    counts = "SELECT stage, count(*) FROM stages WHERE outcome = 'done' AND gaps IS NULL GROUP BY 1"
    whole, many = len(ITEMS), len(ITEMS) * PARTS
    done = {"first": whole, "cut": whole, "deadly": many - 1, "last": whole}
    assert dict(query(tmp_path, counts)) == done
    gathered = read_value(killer(tmp_path), "last")["parts"]["deadly"]
    assert [position for position, *_ in gathered] == [n for n in range(PARTS) if n != PART]
    tries = (tmp_path / "in hand").read_text().splitlines()
    assert [one for one in tries if not one.startswith("last")][-1] == f"deadly {part.id} 1"
    assert leftovers(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "runs"), [("splitter-module", 2), ("splitter-loop", 5)])
def test_a_stage_that_kills_the_run_as_it_splits_fails_with_its_item(
    tmp_path: Path, kind: str, runs: int
) -> None:
    assert runs_until_one_ends(kind, tmp_path, attempts=2) <= runs
    ended = outcomes(tmp_path)
    found = {key: end for key, end in ended.items() if end[0] not in ("done", "pending")}
    assert found == {("cut", killer(tmp_path).id): ("failed", "crashed")}
    for source in ITEMS:
        id_ = Item.at(tmp_path, source).id
        assert (("last", id_) in ended) == (id_ != killer(tmp_path).id)
    assert leftovers(tmp_path) == []


# Who is alone


class Looking(Toy):
    """Looks which attempts count as alone."""

    seen: ClassVar[list[str]] = []
    called: ClassVar[list[str]] = []

    def act(self, item: Item, out: Path) -> object:
        self.called.append(item.id)
        while not Watched.seen:
            time.sleep(0.001)
        self.seen.extend(f"{self.name}: {stage}" for stage in alone(self.workdir))
        return super().act(item, out)


def alone(workdir: Path) -> list[str]:
    return [stage for (stage,) in query(workdir, "SELECT stage FROM attempts WHERE alone")]


def died_splitting(workdir: Path) -> None:
    """Leave what a run leaves that is killed as it splits the item `v`."""
    open_scratch(Item.at(workdir, "v"), "cut")
    ledger = Ledger(workdir / FILE)
    ledger.start_run("toy", {}, {})
    ledger.close()


class Watched(Cutter):
    """Notes who is alone before each part."""

    seen: ClassVar[list[list[str]]] = []
    waits: ClassVar[bool] = False
    """Whether to wait until a part has been in the step after it."""

    def write(self, item: Item, position: int, folder: Path) -> None:
        while self.waits and not Looking.called:
            time.sleep(0.001)
        self.seen.append(alone(self.workdir))
        super().write(item, position, folder)


def test_a_splitting_stage_is_alone_until_its_parts_are_in_hand(tmp_path: Path) -> None:
    died_splitting(tmp_path)
    Looking.called, Looking.seen, Watched.seen = [], [], []
    steps = [cut("cut", base=Watched), at("cut", "f", base=Looking), gather("g", "f")]
    run_within(20, line(*steps), tmp_path, ["v"])
    assert Watched.seen == [["cut"], [], []]
    assert Looking.seen == []


def test_a_splitting_stage_is_not_alone_beside_parts_of_an_earlier_run(tmp_path: Path) -> None:
    breaks: Mapping[str, list[object]] = {"v/2": ["transient", -1]}
    steps = [cut("cut", does=breaks), at("cut", "f"), gather("g", "f")]
    run(line(*steps), tmp_path, ["v"], "stages.cut.attempts=1")
    ledger = Ledger(tmp_path / FILE)
    ledger.retrying.reset({"cut": ["f", "g"]})
    ledger.close()
    died_splitting(tmp_path)
    Looking.called, Looking.seen, Watched.seen = [], [], []
    steps = [cut("cut", base=Watched, waits=True), at("cut", "f", base=Looking), gather("g", "f")]
    report = run_within(20, line(*steps), tmp_path, ["v"], "stages.f.value=1")
    assert report.items["done"] == 1
    assert Watched.seen == [[]]
    assert Looking.seen == []
