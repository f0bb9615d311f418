"""What is learnt from a ledger: of real runs of toys, of older ledgers, and of what is no run."""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Item, Pipeline, WorkFolderError
from engine.bench.model.attempts import PastAttempt
from engine.bench.model.helper_threads import helper_cores
from engine.bench.model.reading import read_recording
from engine.bench.model.simulation import simulate
from engine.ledger.records import AttemptRow
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from tests.engine.toy_parts import Cutter, at, cut, gather
from tests.engine.toys import GatedToy, LoopToy, Toy, fast_folder, line, run, toy

pytestmark = pytest.mark.alone

BLOCK = bytes(1 << 18)


class Sleeps(Toy):
    """Sleeps for as many hundredths of a second as its item's source says."""

    def process(self, item: Item, out: Path) -> Any:
        time.sleep(int(item.source.rpartition(" ")[2]) / 100)
        return self.act(item, out)


class Hashes(Toy):
    """Needs a core for a while, with its own thread or with two of others."""

    helpers = 0

    def process(self, item: Item, out: Path) -> Any:
        if self.helpers:
            with ThreadPoolExecutor(self.helpers) as pool:
                list(pool.map(_hash, range(self.helpers)))
        else:
            _hash(0)
        return self.act(item, out)


def _hash(_: int) -> None:
    burnt = time.thread_time() + 0.02
    while time.thread_time() < burnt:
        hashlib.sha256(BLOCK).digest()


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as folder:
        yield folder


def test_a_recording_tells_what_was_run(folder: Path) -> None:
    does = {"v 2": ["drop"], "v 3": ["permanent"], "v 4": ["transient", 1]}
    pipeline = line(toy("a", base=Sleeps, does=does), toy("b", "a"), toy("c", "a", "b"))
    sources = [f"v {number}" for number in range(6)]
    limits = ["limits.rate=7", "limits.keys={h = {rate = 9}}"]
    run(pipeline, folder, sources, "stages.a.workers=2", "stages.b.queue=3", *limits)
    made = read_recording(folder, pipeline)
    assert made.stages == ("a", "b", "c")
    assert made.predecessors == {"a": (), "b": ("a",), "c": ("a", "b")}
    assert (made.workers["a"], made.queues["b"], made.left_out) == (2, 3, 0)
    assert [made.capacities.rate_of(key) for key in "gh"] == [7, 9]
    by_source = {item.id: item for item in made.items}
    items = {source: by_source[Item.at(folder, source).id] for source in sources}
    assert [item.outcome for item in items.values()] == [
        "done", "done", "dropped", "failed", "done", "done",
    ]  # fmt: skip
    assert items["v 2"].visits.keys() == {"a"}
    assert items["v 5"].visits.keys() == {"a", "b", "c"}
    for number in range(6):
        for service in items[f"v {number}"].visits["a"].services:
            assert number / 100 <= service.seconds < number / 100 + 0.5
            assert service.processor < 0.1
    first, second = items["v 4"].visits["a"].services
    assert first.pause == 0 < 0.001 < second.pause
    assert made.ended == 6
    assert made.seconds > 0.07


def test_waiting_and_work_are_told_apart(folder: Path) -> None:
    pipeline = line(toy("sleeps", base=Sleeps), toy("hashes", "sleeps", base=Hashes))
    run(pipeline, folder, [f"{n} 3" for n in range(10)])
    for item in read_recording(folder, pipeline).items:
        [sleep], [work] = item.visits["sleeps"].services, item.visits["hashes"].services
        assert sleep.processor < 0.02 < sleep.wait < 0.5
        assert 0.015 < work.processor < 0.06


def test_work_in_helper_threads_is_found(folder: Path) -> None:
    """Neither its worker's thread nor the event loop does it, and it is a stage's all the same."""
    pipeline = line(
        toy("idle", base=Sleeps), toy("helped", "idle", base=Hashes, helpers=2)
    )  # fmt: skip
    run(pipeline, folder, [f"{n} 1" for n in range(60)])
    made = read_recording(folder, pipeline)
    helped = np.mean([item.visits["helped"].processor for item in made.items])
    idle = np.mean([item.visits["idle"].processor for item in made.items])
    assert 0.038 < helped + idle < 0.08
    assert helped > 2 * idle


def test_helpers_are_told_apart_by_when_the_work_is_done() -> None:
    """a and b take turns; while b is at work the run uses 1.5 cores, of which its thread has 1."""
    attempts, used, clock = [], 0.0, 0.0
    for number in range(100):
        stage, seconds, growth = ("a", 1.0, 0.0) if number % 2 else ("b", 2.0, 3.0)
        used += growth
        attempts.append(
            PastAttempt(number, 1, str(number), stage, 1, clock, clock + seconds, "done",
                    2.0 if stage == "b" else 0.0, 0.0, used, None, None)
        )  # fmt: skip
        clock += seconds
    occupied = {attempt.id: attempt.ended - attempt.started for attempt in attempts}
    found = helper_cores(attempts, occupied, ["a", "b"])
    assert found == pytest.approx({"a": 0.0, "b": 0.5}, abs=0.02)
    few = helper_cores(attempts[:6], occupied, ["a", "b"])
    assert few["a"] == few["b"] > 0
    assert helper_cores(attempts, occupied, ["a", "b"], apart=["a", "b"]) == {}


def test_a_replay_takes_as_long_as_the_run(folder: Path) -> None:
    pipeline = line(toy("a", base=Sleeps), toy("b", "a", base=Sleeps), toy("c", "b", base=LoopToy))
    run(pipeline, folder, [f"{n} {n % 4}" for n in range(60)], "stages.a.workers=2")
    made = read_recording(folder, pipeline)
    assert simulate(made, {}).throughput == pytest.approx(made.throughput, rel=0.3)


def test_lists_and_gates_are_recorded(folder: Path) -> None:
    does = {"list": ["expand", ["1@h", "2@h", "3@i"]]}
    pipeline = line(toy("a", base=GatedToy, does=does), toy("b", "a"))
    run(pipeline, folder, ["list"])
    made = read_recording(folder, pipeline)
    assert [item.expanded for item in made.items] == [3, None, None, None]
    assert sorted(str(item.visits["a"].key) for item in made.items) == ["None", "h", "h", "i"]


class Slow(Toy):
    def process(self, item: Item, out: Path) -> Any:
        time.sleep(0.1)
        return self.act(item, out)

    def process_batch(self, items: list[Item], outs: list[Path]) -> Any:
        time.sleep(0.1)
        return self.act_on_all(items, outs)


def test_a_batch_has_its_worker_once(folder: Path) -> None:
    pipeline = line(toy("a"), toy("b", "a", base=Slow))
    run(pipeline, folder, [f"v{n}" for n in range(12)], "stages.b.batch=4")
    items = read_recording(folder, pipeline).items
    assert 0.3 < sum(item.visits["b"].seconds for item in items) < 12 * 0.1 / 2


class Cuts(Cutter):
    """Sleeps a while before each part."""

    def write(self, item: Item, position: int, folder: Path) -> None:
        time.sleep(0.02)
        super().write(item, position, folder)


def in_parts(does: dict[str, list[Any]] | None = None) -> Pipeline:
    return line(
        cut("c", base=Cuts, cuts={"x": 5, "y": 0}),
        at("c", "f", base=Slow, does=does),
        gather("g", "f"),
    )


def test_parts_are_recorded_and_room_is_not_waited_for(folder: Path) -> None:
    """c works for a tenth of a second on x, and waits for the slower f before most parts."""
    pipeline = in_parts()
    run(pipeline, folder, ["x", "y"], "stages.f.queue=1")
    made = read_recording(folder, pipeline)
    assert (made.each, made.left_out, made.ended) == ({"f": "c"}, 0, 2)
    items = {item.id[0]: item for item in made.items}
    x, y = items["x"], items["y"]
    assert [part.id.rpartition("/")[2] for part in x.parts["c"]] == [f"{n:08d}" for n in range(5)]
    assert y.parts == {"c": []}
    assert all(part.visits.keys() == {"f"} for part in x.parts["c"])
    assert (x.visits.keys(), len(list(x.visits_of("f")))) == ({"c", "g"}, 5)
    assert 0.1 <= x.visits["c"].seconds < 0.3 < made.seconds
    assert simulate(made, {}).throughput == pytest.approx(made.throughput, rel=0.3)
    assert simulate(made, {"f": 3}).seconds < 0.7 * simulate(made, {}).seconds


def test_an_item_that_parts_decided_is_recorded_with_what_was_made(folder: Path) -> None:
    """c was in the middle of its work, and f had not begun with all that was made."""
    pipeline = in_parts({"x/1": ["permanent"]})
    run(pipeline, folder, ["x"])
    [x] = read_recording(folder, pipeline).items
    assert (x.outcome, x.visits.keys()) == ("failed", {"c"})
    outcomes = [part.visits["f"].outcome for part in x.parts["c"] if part.visits]
    assert outcomes[:2] == ["done", "failed"]
    assert simulate(read_recording(folder, pipeline), {}).seconds > 0.1


def test_an_item_whose_parts_were_made_by_several_runs_is_left_out(folder: Path) -> None:
    """The run that ended with it did a part of the work alone."""
    failing = in_parts({"x/3": ["permanent"]})
    run(failing, folder, ["x", "z"], "stages.f.attempts=1")
    made = in_parts()
    ledger = sqlite3.connect(folder / FILE)
    ledger.execute(
        "UPDATE attempts SET started = started + 1e6, ended = ended + 1e6 WHERE stage = 'c'"
    )
    ledger.commit()
    ledger.close()
    with pytest.raises(WorkFolderError, match="from its start to its end"):
        read_recording(folder, made)


def test_several_runs_make_one_recording(folder: Path) -> None:
    pipeline = line(toy("a", base=Sleeps), toy("b", "a"))
    run(pipeline, folder, ["x 1", "y 1", "z 1"])
    run(pipeline, folder, ["x 1", "w 1"], "stages.b.value=1")
    made = read_recording(folder, pipeline)
    assert len(made.items) == 4
    assert made.ended == 3  # of the longest run


def test_an_older_ledger_counts_all_as_waiting(folder: Path) -> None:
    pipeline = line(toy("a", base=Hashes))
    run(pipeline, folder, [f"v{n}" for n in range(5)])
    db = sqlite3.connect(folder / FILE)
    for column in ("processor", "delayed", "run_processor", "blocked"):
        db.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
    db.execute("ALTER TABLE runs DROP COLUMN cores")
    db.close()
    made = read_recording(folder, pipeline)
    assert not made.knows_processor
    for item in made.items:
        [service] = item.visits["a"].services
        assert service.processor == 0
        assert service.wait >= 0.02


def test_nothing_to_learn_from_is_said_in_one_line(folder: Path) -> None:
    pipeline = line(toy("a", does={"v": ["transient"]}))
    with pytest.raises(WorkFolderError, match="is not a work folder"):
        read_recording(folder, pipeline)
    Ledger(folder / FILE).close()
    with pytest.raises(WorkFolderError, match="no finished attempt to learn from"):
        read_recording(folder, pipeline)
    ledger = Ledger(folder / FILE)
    number = ledger.start_run("toy", {}, {})
    item = Item.at(folder, "v")
    ledger.admit(item, None, number)
    row = AttemptRow(1, number, item.id, "a", 1, 1, 1.0)
    row.end("retried", None)
    ledger.start_attempt(row)
    ledger.close()
    with pytest.raises(WorkFolderError, match="from its start to its end"):
        read_recording(folder, pipeline)
