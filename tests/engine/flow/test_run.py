"""Whole runs: what is redone and what is not, crashes mended, disks that fill, budgets that end."""

import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import (
    SOURCE,
    FinishContext,
    Item,
    Job,
    PenstockError,
    Pipeline,
    Source,
    Stage,
    Step,
    StepOpened,
    StopRun,
    UsageError,
    WorkFolderError,
)
from engine.contract.item import MARK, item_id
from engine.flow.journey.graph import Graph
from engine.flow.opening import run_pipeline
from engine.flow.run import Run
from engine.ledger.lock import locked
from engine.ledger.outputs.folders import sweep_scratch
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.events import (
    DiskLow,
    DiskRecovered,
    Event,
    Events,
    ItemEntered,
    Repaired,
    RunStarted,
    SourceEnded,
    Stopping,
)
from tests.engine import toys
from tests.engine.toys import (
    LoopToy,
    Toy,
    configured,
    engine_threads,
    executions,
    line,
    outcomes,
    query,
    run,
    run_within,
    toy,
    tree,
)


def stages_run(workdir: Path, *arguments: Any, **more: Any) -> list[str]:
    """Run; the names of the stages that had anything to do."""
    before = executions(workdir)
    run(*arguments, **more)
    return sorted({stage for stage, _ in executions(workdir) - before})


def diamond(version: int = 1, **does: toys.Does) -> Pipeline:
    return line(
        toy("a", does=does.get("a")),
        toy("b", "a", does=does.get("b"), version=version),
        toy("c", "a", does=does.get("c")),
        toy("d", "b", "c", does=does.get("d")),
    )


# Doing again


def test_settings_decide_what_is_done_again(fast: Path) -> None:
    sources = ["v1", "v2"]
    assert stages_run(fast, diamond(), fast, sources) == ["a", "b", "c", "d"]
    done = tree(fast)
    assert stages_run(fast, diamond(), fast, sources) == []
    assert stages_run(fast, diamond(), fast, sources, "stages.a.note=other") == []
    assert stages_run(fast, diamond(), fast, sources, "stages.b.value=1") == ["b", "d"]
    assert tree(fast) != done
    assert stages_run(fast, diamond(), fast, sources) == ["b", "d"]
    assert tree(fast) == done
    assert stages_run(fast, diamond(version=2), fast, sources) == ["b", "d"]
    assert stages_run(fast, diamond(version=2), fast, [*sources, "v3"]) == ["a", "b", "c", "d"]


def test_how_work_is_done_changes_nothing(fast: Path) -> None:
    run(diamond(), fast, ["v"])
    options = [
        "stages.b.workers=3",
        "stages.b.queue=2",
        "stages.b.timeout=9",
        "stages.c.attempts=1",
    ]
    assert stages_run(fast, diamond(), fast, ["v"], *options) == []


def test_a_rerun_reports_what_it_found_done(fast: Path) -> None:
    run(diamond(), fast, ["v1", "v2"])
    report = run(diamond(), fast, ["v1", "v2", "v1", "v3"])
    assert report.items == {"done": 3, "dropped": 0, "failed": 0, "reused": 2}
    assert report.exit_code == 0


def test_a_deleted_output_is_known_and_made_again_only_to_be_read(fast: Path) -> None:
    raw = "stages.a.keep=false"
    run(diamond(), fast, ["v"], raw)
    assert not any("/a/" in path for path in tree(fast))
    assert stages_run(fast, diamond(), fast, ["v"], raw) == []
    assert stages_run(fast, diamond(), fast, ["v"], raw, "stages.d.value=1") == ["d"]
    assert stages_run(fast, diamond(), fast, ["v"], raw, "stages.c.value=1") == ["a", "c", "d"]
    assert not any("/a/" in path for path in tree(fast))
    assert stages_run(fast, diamond(), fast, ["v"], raw, "stages.c.value=1") == []


def test_a_deleted_output_is_gone_as_soon_as_all_have_read_it(fast: Path) -> None:
    gone: list[bool] = []

    class Looks(Toy):
        def act(self, item: Item, out: Path) -> None:
            gone.append(not item.has_output("a"))
            super().act(item, out)

    pipeline = line(toy("a"), toy("b", "a"), toy("c", "b", base=Looks))
    run(pipeline, fast, ["v1", "v2"], "stages.a.keep=false")
    assert gone == [True, True]


def test_what_ended_ill_stays_so_until_it_is_asked_for(fast: Path) -> None:
    does = {"bad": ["transient", 3], "enough": ["drop"]}
    pipeline = diamond(b=does)
    report = run(pipeline, fast, ["bad", "enough", "v"])
    assert (report.items["failed"], report.items["dropped"], report.exit_code) == (1, 1, 1)
    assert stages_run(fast, pipeline, fast, ["bad", "enough", "v"]) == []
    reset_failures(fast, pipeline)
    assert stages_run(fast, pipeline, fast, ["bad", "enough", "v"]) == ["b", "d"]
    assert outcomes(fast)["d", item_id("bad")] == ("done", None)


def test_a_retry_finds_what_the_failed_stage_reads(fast: Path) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={"bad": ["transient", 3]}))
    raw = "stages.a.keep=false"
    for _ in range(2):
        run(pipeline, fast, ["bad", "v"], raw)
        assert [path for path in tree(fast, marks=False) if "/a/" in path] == [
            f"{item_id('bad')}/a/value.json"
        ]
    reset_failures(fast, pipeline)
    assert stages_run(fast, pipeline, fast, ["bad", "v"], raw) == ["b"]
    assert not any("/a/" in path for path in tree(fast))


def reset_failures(workdir: Path, pipeline: Pipeline) -> None:
    graph, ledger = Graph(pipeline, {}), Ledger(workdir / FILE)
    assert len(ledger.retrying.reset({n: graph.descendants(n) for n in graph.names})) == 1
    ledger.close()


def test_an_optional_stage_degrades_the_item(fast: Path) -> None:
    pipeline = diamond(b={"bad": ["permanent"]})
    report = run(pipeline, fast, ["bad", "v"], "stages.b.optional=true")
    assert report.items["done"] == 2
    assert report.exit_code == 0
    last = Item.at(fast, "bad")
    assert toys.read_value(last, "d")["before"]["b"] is None
    assert toys.read_value(last, "d")["before"]["c"] is not None
    assert stages_run(fast, pipeline, fast, ["bad"], "stages.b.optional=true") == []


def test_a_way_that_is_not_taken_any_more_leaves_nothing(fast: Path) -> None:
    run(diamond(), fast, ["v"])
    drops = diamond(b={"v": ["drop"]})
    report = run(drops, fast, ["v"], "stages.b.value=1")
    assert report.items["dropped"] == 1
    assert {path.split("/")[1] for path in tree(fast)} == {"a", "c"}


# Items that hold others


def test_items_come_out_of_items_once_each(fast: Path) -> None:
    does = {"list": ["expand", ["v1", "deeper", "v1", "list"]], "deeper": ["expand", ["v1", "v2"]]}
    events: list[Event] = []
    report = run(diamond(a=does), fast, ["list", "v2"], listen=events.append)
    entered = [event for event in events if isinstance(event, ItemEntered)]
    assert sorted(event.source for event in entered) == ["deeper", "list", "v1", "v2"]
    parents = {event.source: event.parent for event in entered}
    assert parents["v1"] == item_id("list")
    assert report.items["done"] == 4
    assert stages_run(fast, diamond(a=does), fast, ["list"]) == []


def test_a_list_that_shares_items_with_another_still_holds_them_in_later_runs(fast: Path) -> None:
    does = {"one": ["expand", ["v1", "v2"]], "two": ["expand", ["v2", "v3"]]}
    run(diamond(a=does), fast, ["one", "two"])
    report = run(diamond(a=does), fast, ["two"], "stages.d.value=1")
    assert report.items["done"] == 3, "v2 came out of the first, and is in the second all the same"


def test_a_list_that_breaks_off_is_read_again_from_the_start(fast: Path) -> None:
    does = {"list": ["expand", ["v1", "v2", "v3"], 1]}
    report = run(diamond(a=does), fast, ["list"])
    assert report.items == {"done": 4, "dropped": 0, "failed": 0, "reused": 0}
    assert executions(fast)["b", item_id("v1")] == 1


def test_a_list_that_an_earlier_run_read_may_turn_up_after_the_source_has_ended(
    fast: Path,
) -> None:
    does = {"outer": ["expand", ["inner", "v1"], 3], "inner": ["expand", ["v2", "v3"]]}
    pipeline = line(toy("a", does=does), toy("b", "a"))
    report = run(pipeline, fast, ["outer"])
    assert outcomes(fast)["a", item_id("outer")][0] == "failed"
    assert outcomes(fast)["a", item_id("inner")][0] == "done"
    reset_failures(fast, pipeline)
    report = run_within(20, pipeline, fast, ["outer"], "stages.b.value=1")
    assert report.items["done"] == 5


def test_a_list_is_known_again_also_behind_a_stage_that_has_to_be_redone(fast: Path) -> None:
    does = {"list": ["expand", ["v1", "v2"]]}
    pipeline = line(toy("a"), toy("b", "a", does=does), toy("c", "a"))
    run(pipeline, fast, ["list"], "stages.a.keep=false")
    before = executions(fast)
    report = run(pipeline, fast, ["list"], "stages.a.keep=false", "stages.c.value=1")
    assert report.items["done"] == 3
    again = {item_id(source) for source in ("list", "v1", "v2")}
    assert set(executions(fast) - before) == {(stage, id_) for id_ in again for stage in "ac"}


@pytest.mark.parametrize("among", ["v1", 7, None])
def test_what_is_no_item_is_a_bug_of_the_stage_and_no_hang(fast: Path, among: object) -> None:
    class Odd(Toy):
        def act(self, item: Item, out: Path) -> Any:
            return [item.child("fine"), among] if item.source == "bad" else super().act(item, out)

    report = run(line(toy("a", base=Odd)), fast, ["bad", "v"])
    assert outcomes(fast)["a", item_id("bad")] == ("failed", "unexpected")
    assert report.items["done"] == 2
    assert (
        report.failures[0].example_reason == f"TypeError: process() gave {among!r} among its items"
    )


def test_lists_are_read_one_after_the_other(fast: Path) -> None:
    reading = most = 0

    class Lists(LoopToy):
        def act(self, item: Item, out: Path) -> Any:
            return self.read(item) if item.source.startswith("list") else None

        def read(self, item: Item) -> Iterator[Item]:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            for number in range(10):
                yield item.child(f"{item.source} {number}".removeprefix("list"))
            reading -= 1

    sources = [f"list{n}" for n in range(30)]
    report = run(line(toy("a", base=Lists)), fast, sources, "stages.a.queue=1")
    assert report.items["done"] == 330
    assert most <= 3


def test_an_item_knows_in_how_many_lists_it_is(fast: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Deep(LoopToy):
        def act(self, item: Item, out: Path) -> Any:
            seen.append((item.source, item.depth))
            return [item.child(f"{item.source}x")] if len(item.source) < 4 else None

    pipeline = line(toy("a", base=Deep))
    run(pipeline, fast, ["v", "xxxx"])
    assert sorted(seen) == [("v", 0), ("vx", 1), ("vxx", 2), ("vxxx", 3), ("xxxx", 0)]
    change(fast, "UPDATE stages SET outcome = 'pending' WHERE item = ?", item_id("vxxx"))
    shutil.rmtree(fast / "items" / item_id("vxxx"))
    seen.clear()
    run(pipeline, fast, ["v", "xxxx"])  # its lists have been read: the ledger knows the rest
    assert seen == [("vxxx", 3)]


def test_an_item_that_cannot_come_in_is_the_matter_of_the_list_that_holds_it(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sweep(item: Item) -> int:  # a disk that fails cannot be had here
        if item.id == item_id("v1"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return sweep_scratch(item)

    monkeypatch.setattr("engine.flow.journey.admission.sweep_scratch", sweep)
    report = run(line(toy("a", does={"list": ["expand", ["v1"]]})), fast, ["list"])
    assert outcomes(fast)["a", item_id("list")] == ("failed", "unexpected")
    assert report.exit_code == 1


# After a crash


def one_repair(
    workdir: Path, pipeline: Pipeline, *sources: str
) -> tuple[list[str], list[Repaired]]:
    events: list[Event] = []
    ran = stages_run(workdir, pipeline, workdir, sources, listen=events.append)
    return ran, [event for event in events if isinstance(event, Repaired)]


def change(workdir: Path, sql: str, *values: Any) -> None:
    ledger = Ledger(workdir / FILE)
    ledger._db.execute(sql, values)
    ledger.close()


@pytest.mark.parametrize(
    "sql", ["DELETE FROM stages WHERE stage = 'b'", "UPDATE stages SET outcome = 'pending'"]
)
def test_an_output_that_the_ledger_missed_counts(fast: Path, sql: str) -> None:
    run(diamond(), fast, ["v"])
    change(fast, sql)
    ran, repairs = one_repair(fast, diamond(), "v")
    assert ran == []
    assert {repair.stage for repair in repairs} >= {"b"}
    assert "its output is whole" in repairs[0].what
    assert one_repair(fast, diamond(), "v") == ([], []), "it is mended"


def test_an_output_that_is_gone_is_made_again(fast: Path) -> None:
    run(diamond(), fast, ["v"])
    shutil.rmtree(Item.at(fast, "v").output("d"))
    ran, (repair,) = one_repair(fast, diamond(), "v")
    assert (ran, repair.stage) == (["d"], "d")
    assert "its output is gone" in repair.what
    shutil.rmtree(Item.at(fast, "v").output("a"))
    assert one_repair(fast, diamond(), "v") == ([], []), "nobody has to read it"


def test_a_damaged_output_is_made_again(fast: Path) -> None:
    run(diamond(), fast, ["v"])
    (Item.at(fast, "v").output("d") / MARK).write_text("{")
    ran, (repair,) = one_repair(fast, diamond(), "v")
    assert (ran, repair.stage) == (["d"], "d")
    assert "its output is damaged" in repair.what


def test_an_output_of_which_a_file_is_empty_is_made_again_once_it_is_read(fast: Path) -> None:
    run(diamond(), fast, ["v"])
    item = Item.at(fast, "v")
    whole = {path.name: path.read_bytes() for path in item.output("b").iterdir()}
    for path in item.output("b").iterdir():
        if path.name != MARK:
            path.write_text("")
    assert one_repair(fast, diamond(), "v") == ([], []), "nobody has to read it"
    shutil.rmtree(item.output("d"))
    ran, repairs = one_repair(fast, diamond(), "v")
    assert ran == ["b", "d"]
    assert "its output is damaged" in repairs[0].what
    assert {path.name: path.read_bytes() for path in item.output("b").iterdir()} == whole


def test_a_link_in_place_of_the_folder_of_an_item_is_replaced(fast: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    (treasure / "a").mkdir(parents=True)
    (treasure / "a" / "thesis").write_text("years of work")
    folder = Item.at(fast, "v").folder
    folder.parent.mkdir()
    folder.symlink_to(treasure)
    _, (repair,) = one_repair(fast, line(toy("a")), "v")
    assert "was a symbolic link" in repair.what
    assert not folder.is_symlink()
    assert [path.name for path in (treasure / "a").iterdir()] == ["thesis"]


def test_half_work_of_a_killed_run_is_swept_away(fast: Path) -> None:
    run(line(toy("a")), fast, ["v"])
    folder = Item.at(fast, "v").folder
    (folder / ".b.scratch-abc").mkdir()
    (folder / ".b.scratch-abc" / "half").touch()
    (folder / ".a.partial").mkdir()  # killed between the commit and the removal
    change(fast, "UPDATE stages SET outcome = 'pending'")
    run(line(toy("a"), toy("b", "a")), fast, ["v"])
    assert toys.leftovers(fast) == []


def test_attempts_of_a_killed_run_are_interrupted(fast: Path) -> None:
    run(line(toy("a")), fast, ["v"])
    change(fast, "UPDATE attempts SET ended = NULL, outcome = NULL")
    change(fast, "UPDATE runs SET ended = NULL, outcome = NULL")
    _, (repair,) = one_repair(fast, line(toy("a")), "v")
    assert "a killed run had it in hand" in repair.what
    assert query(fast, "SELECT outcome FROM attempts") == [("interrupted",)]
    assert query(fast, "SELECT outcome FROM runs") == [("killed",), ("done",)]


IN_HAND = threading.Event()


class Patient(Stage):
    """Is done with v1 at once, and with nothing else ever."""

    async def process(self, item: Item, out: Path) -> None:
        if item.source != "v1":
            IN_HAND.set()
            await anyio.sleep_forever()


class Late(Stage):
    """Cannot start, and finds that out when another step has an item in hand."""

    def open(self) -> None:
        assert IN_HAND.wait(60)
        raise UsageError("no such class")


def test_nobody_killed_a_run_that_broke_off_by_itself(fast: Path) -> None:
    IN_HAND.clear()
    with pytest.raises(UsageError, match="no such class"):
        run(line(Step(Patient, SOURCE, name="a"), Step(Late, "a", name="b")), fast, ["v1", "v2"])
    assert query(fast, "SELECT outcome, killed FROM attempts WHERE stage = 'a' ORDER BY item") == [
        ("done", None),
        ("interrupted", None),
    ]
    ran, repairs = one_repair(fast, line(toy("a"), toy("b", "a")), "v1", "v2")
    assert (ran, repairs) == (["a", "b"], [])


# Two runs on one folder


def test_a_second_run_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(WorkFolderError) as refusal:
        run(line(toy("a")), tmp_path, ["v"])
    assert f"is in use by process {os.getpid()} on " in str(refusal.value)
    run(line(toy("a")), tmp_path, ["v"])


def test_a_killed_run_leaves_the_folder_free(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from engine.ledger.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(1000)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(WorkFolderError, match=f"process {holder.pid} "):
        run(line(toy("a")), tmp_path, ["v"])
    holder.kill()
    holder.communicate()
    assert run(line(toy("a")), tmp_path, ["v"]).items["done"] == 1


def test_a_place_that_cannot_be_a_work_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkFolderError, match="cannot be used as a work folder"):
        run(line(toy("a")), tmp_path / "file", ["v"])


# Stopping itself


def test_too_many_failures_stop_the_run_and_the_next_one_goes_on(fast: Path) -> None:
    does = {f"v{n}": ["permanent"] for n in range(0, 14)}
    sources = [f"v{n}" for n in range(20)]
    pipeline = line(toy("a", does=does), toy("b", "a"))
    events: list[Event] = []
    report = run(pipeline, fast, sources, "limits.failure_budget=0.5", listen=events.append)
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert report.items["failed"] < 14
    assert report.why is not None
    assert "over the failure budget" in report.why
    assert [event.why for event in events if isinstance(event, Stopping)] == [report.why]
    report = run(pipeline, fast, sources, "limits.failure_budget=0.5")
    assert (report.outcome, report.exit_code) == ("done", 1), "what failed is not counted again"
    assert (report.items["done"], report.items["failed"]) == (6, 14)


def test_failures_of_single_items_do_not_stop_a_run_but_others_beside_them_do(fast: Path) -> None:
    gone = {f"gone{n}": ["permanent"] for n in range(60)}
    sources = ["first", *gone, *(f"v{n}" for n in range(20))]
    first = toy("a", does=gone, item_failures={"permanent"})
    report = run(line(first, toy("b", "a")), fast, sources, "limits.failure_budget=0.5")
    assert (report.outcome, report.exit_code) == ("done", 1)
    assert (report.items["done"], report.items["failed"]) == (21, 60)

    bad = {f"bad{n}": ["unexpected"] for n in range(30)}
    mixed = [f"{kind}{n}" for n in range(30) for kind in ("more", "bad")]
    does = bad | {source: ["permanent"] for source in mixed if source.startswith("more")}
    first = toy("a", does=does, item_failures={"permanent"})
    settings = ["limits.failure_budget=0.5", "stages.a.attempts=1"]
    report = run(line(first, toy("b", "a")), fast, ["new", *mixed], *settings)
    assert report.outcome == "stopped"


def test_a_run_in_which_every_item_is_gone_stops_itself(fast: Path) -> None:
    gone = {f"gone{n}": ["permanent"] for n in range(60)}
    first = toy("a", does=gone, item_failures={"permanent"})
    report = run(line(first), fast, list(gone), "limits.failure_budget=0.5")
    assert report.outcome == "stopped"
    assert report.items["failed"] < 30


class Full(Toy):
    """The disk is full until the test frees it."""

    def act(self, item: Item, out: Path) -> Any:
        if item.source == "big" and not (self.workdir / "freed").exists():
            toys.note(self.workdir / "executions", f"{self.name} {item.id}")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out / "frame"))
        return super().act(item, out)


def test_a_stage_that_fills_the_disk_stops_the_run_and_blames_no_item(fast: Path) -> None:
    pipeline = line(toy("a", base=Full), toy("b", "a"))
    sources = ["v1", "big", *(f"v{n}" for n in range(2, 50))]
    report = run(pipeline, fast, sources)
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert report.why is not None
    assert report.why.startswith("the disk is full while writing ")
    assert outcomes(fast)["a", item_id("big")] == ("pending", None)
    assert report.items["failed"] == 0
    (fast / "freed").touch()
    assert run(pipeline, fast, sources).items["done"] == 50


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("big", [2000, 20])
def test_a_really_full_disk_stops_the_run_wherever_it_shows(tiny_disk: Path, big: int) -> None:
    """In a stage, in the engine's own files or in the ledger: the exit is the same, the run goes on
    when there is room."""

    class Fills(Toy):
        def act(self, item: Item, out: Path) -> Any:
            (out / "big").write_bytes(b"x" * 1000 * big)
            return super().act(item, out)

    def raw(pipeline: Pipeline, keep: str) -> Any:
        return run(pipeline, tiny_disk / "work", [f"v{n}" for n in range(60)], keep)

    pipeline = line(toy("a", base=Fills), toy("b", "a"))
    report = raw(pipeline, "stages.a.keep=true")
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert report.why is not None
    assert "free some space and run again" in report.why or "cannot be written" in report.why
    assert report.items["failed"] == 0
    subprocess.run(["mount", "-o", "remount,size=200m", tiny_disk], check=True)
    assert raw(pipeline, "stages.a.keep=true").items["done"] == 60


def test_a_disk_that_is_full_from_the_start_is_one_line(tiny_disk: Path) -> None:
    (tiny_disk / "work").mkdir()
    with pytest.raises(OSError, match="No space left"):
        (tiny_disk / "big").write_bytes(b"x" * 3_000_000)
    with pytest.raises(PenstockError, match=r"disk is full|cannot be") as refusal:
        run(line(toy("a")), tiny_disk / "work", ["v"])
    assert "\n" not in str(refusal.value)


def test_the_source_waits_while_the_disk_is_low(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for three raw outputs; the source is held, and so is a list in it."""

    class Slow(Toy):
        def act(self, item: Item, out: Path) -> Any:
            time.sleep(0.003)
            return super().act(item, out)

    class Usage:
        def __init__(self) -> None:
            self.free = 100 * (3 - len(list(fast.glob("items/*/a/value.json"))))

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage())
    monkeypatch.setattr("engine.gates.disk.DISK_CHECK_INTERVAL", 0.001)
    events: list[Event] = []
    does = {"list": ["expand", [f"w{n}" for n in range(30)]]}
    pipeline = line(toy("z", does=does), toy("a", "z"), toy("b", "a", base=Slow))
    settings = ["stages.a.keep=false", "limits.free_disk=50"]
    report = run(pipeline, fast, ["list"], *settings, listen=events.append)
    assert report.items["done"] == 31
    low = [index for index, event in enumerate(events) if isinstance(event, DiskLow)]
    recovered = [index for index, event in enumerate(events) if isinstance(event, DiskRecovered)]
    assert len(low) == len(recovered) > 0
    for start, end in zip(low, recovered, strict=True):
        assert not any(isinstance(event, ItemEntered) for event in events[start:end])


@pytest.mark.parametrize("sources", [["v1", "v2"], ["list"], ["list", *"abcdefghijklmnop"]])
def test_a_disk_that_nothing_can_free_stops_the_run(
    fast: Path, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.gates.disk.DISK_CHECK_INTERVAL", 0.001)

    class Usage:
        free = 10 if "list" not in sources else 10**9

    def usage(folder: Path) -> Usage:
        found, Usage.free = Usage(), Usage.free
        if (fast / "executions").exists():
            type(found).free = 10
        return found

    monkeypatch.setattr("shutil.disk_usage", usage)
    does = {"list": ["expand", [f"w{n}" for n in range(5)]]}
    report = run(line(toy("a", does=does)), fast, sources, "limits.free_disk=50")
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert report.why is not None
    assert "nearly full" in report.why
    monkeypatch.undo()
    assert run(line(toy("a", does=does)), fast, sources).outcome == "done"


# The source


def test_an_endless_source_is_read_only_as_far_ahead_as_there_is_room(fast: Path) -> None:
    read = 0
    entered = 0
    ahead: list[int] = []

    def source() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"v{read}"

    def listen(event: Event) -> None:
        nonlocal entered
        entered += isinstance(event, ItemEntered)
        ended = sum(run_.pools["b"].statistics().done for run_ in runs)
        ahead.append(read - ended)
        if ended >= 100:
            runs[0].drain("interrupted", "seen enough")

    runs: list[Run] = []

    def prepare(run: Run) -> list[Any]:
        runs.append(run)
        return []

    pipeline = line(toy("a", base=LoopToy), toy("b", "a", base=LoopToy))
    tight = ["stages.a.queue=2", "stages.b.queue=2", "stages.a.workers=2"]
    report = run(pipeline, fast, source(), *tight, listen=listen, prepare=prepare)
    assert report.outcome == "interrupted"
    assert max(ahead) <= 2 + 2 + 2 + 1 + 2, "two queues, three workers, one at the door, one read"


def traced() -> int:
    """Bytes allocated, but for the table of all interned strings, which is made anew at any time:
    path objects put their names there. It is one block, larger than 250 bytes an item would be."""
    traces = tracemalloc.take_snapshot().traces
    return sum(trace.size for trace in traces if trace.size < 500_000)


@pytest.mark.slow
@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 7),
    reason="this Python never lets go of the names in a path (python/cpython#113993)",
)
def test_a_long_list_takes_no_memory(fast: Path) -> None:
    class Drops(LoopToy):
        async def process(self, item: Item, out: Path) -> None:
            raise toys.Drop("nothing to do")

    sizes: list[int] = []

    def source() -> Iterator[str]:
        for number in range(2000):
            if number in (600, 1999):
                gc.collect()
                sizes.append(traced())
            yield f"v{number}"

    tracemalloc.start()
    try:
        report = run(line(toy("a", base=Drops)), fast, source(), "stages.a.workers=8")
    finally:
        tracemalloc.stop()
    assert report.items["dropped"] == 2000
    assert sizes[1] - sizes[0] < 70_000, "50 bytes an item would show"


def test_attempts_write_into_folders_of_few_names(fast: Path) -> None:
    """Names that come and go cost memory in every thread; but those of one item's attempts differ:
    one that was given up may be writing still."""
    names: dict[str, list[str]] = {}

    class Third(Toy):
        def process(self, item: Item, out: Path) -> None:
            names.setdefault(item.source, []).append(out.name)
            if len(names[item.source]) < 3:
                raise toys.Transient("not yet")

    report = run(line(toy("a", base=Third)), fast, [f"v{number}" for number in range(20)])
    assert report.items["done"] == 20
    assert {len(set(used)) for used in names.values()} == {3}
    assert len({name for used in names.values() for name in used}) == 3


def test_a_source_that_goes_wrong_ends_the_run_with_its_error(fast: Path) -> None:
    def source() -> Iterator[str]:
        yield "v1"
        raise PenstockError("the list ends in the middle of a line")

    with pytest.raises(PenstockError, match="the list ends in the middle"):
        run(line(toy("a")), fast, source())
    assert engine_threads() == []


def test_a_name_that_the_pipeline_does_not_understand_is_its_first_stages_matter(
    fast: Path,
) -> None:
    def canonical(source: str) -> str:
        if source == "bad":
            raise toys.UsageError("no such thing")
        return source.lower()

    report = run(line(toy("a"), canonical=canonical), fast, ["V1", "bad", "v1"])
    assert report.items["done"] == 2


# Ending


def test_a_run_can_be_drained_before_it_has_begun(fast: Path) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            runs[0].drain("interrupted", "too early")

    runs: list[Run] = []

    def prepare(run: Run) -> list[Any]:
        runs.append(run)
        return []

    report = run(line(toy("a")), fast, ["v"], listen=listen, prepare=prepare)
    assert (report.outcome, report.items["done"]) == ("interrupted", 0)


def test_an_empty_list_is_a_run_too(fast: Path) -> None:
    events: list[Event] = []
    report = run(diamond(), fast, [], listen=events.append)
    assert (report.outcome, report.exit_code) == ("done", 0)
    assert SourceEnded(0) in events


def test_the_finish_has_every_item_of_the_folder_and_ends_last(fast: Path) -> None:
    seen: list[tuple[str, str, str | None]] = []

    def finish(context: FinishContext) -> list[str]:
        assert context.workdir == fast
        seen.extend((item.source, item.outcome, item.stage) for item in context.items())
        return ["all is well"]

    pipeline = line(toy("a", does={"bad": ["permanent"]}), finish=finish)
    run(pipeline, fast, ["earlier"])
    seen.clear()
    report = run(pipeline, fast, ["v", "bad"])
    assert report.finish == ["all is well"]
    assert sorted(seen) == [("bad", "failed", "a"), ("earlier", "done", None), ("v", "done", None)]
    assert engine_threads() == []


def test_a_finish_that_fills_the_disk_stops_the_run(fast: Path) -> None:
    def finish(context: FinishContext) -> list[str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "dataset.parquet")

    report = run(line(toy("a"), finish=finish), fast, ["v"])
    assert (report.outcome, report.exit_code) == ("stopped", 3)
    assert (
        report.why
        == "the disk is full while writing dataset.parquet; free some space and run again"
    )


def test_stages_that_stop_the_run_leave_their_item_pending(fast: Path) -> None:
    class Spent(Toy):
        def act(self, item: Item, out: Path) -> Any:
            raise StopRun("the money is spent; raise stages.a.budget")

    report = run(line(toy("a", base=Spent)), fast, ["v"])
    assert (report.exit_code, report.why) == (3, "the money is spent; raise stages.a.budget")
    assert outcomes(fast)["a", item_id("v")] == ("pending", None)


def test_what_runs_beside_is_told_nothing_and_ended(fast: Path) -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    run(line(toy("a")), fast, ["v"], prepare=lambda run: [beside])
    assert ended == ["ended"]


def test_a_resident_run_opens_its_steps_before_its_first_item(fast: Path) -> None:
    told: list[Event] = []
    opened = threading.Event()

    class Late(Source):
        def items(self) -> Iterator[Job]:
            assert opened.wait(20), "the steps do not open"
            yield Job("v")

    def listen(event: Event) -> None:
        told.append(event)
        if sum(isinstance(one, StepOpened) for one in told) == 2:
            opened.set()

    pipeline, events = line(toy("a"), toy("b", "a")), Events()
    events.subscribe(listen)
    report = run_pipeline(
        pipeline, configured(pipeline), fast, Late(), events=events, resident=True
    )
    assert report.items["done"] == 1
