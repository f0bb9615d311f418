"""Runs again on a folder with parts: what stands is neither done again nor taken for something
else."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Item
from engine.flow.journey.graph import Graph
from engine.flow.run import Run
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.events import AttemptEnded, Event, PartEnded, PartEntered
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, line, query, read_value, run_within, toy

SECONDS = 20.0


def test_parts_that_read_what_was_gathered_of_them_stand(tmp_path: Path) -> None:
    """Whether the parts are read depends on what was gathered, and that on whether they are."""
    steps = [cut("c"), at("c", "f"), gather("g", "c", "f"), at("c", "h", "f", "g")]
    keep = ["stages.c.keep=false", "stages.g.keep=false"]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    assert again.items["reused"] == 1
    assert set(executions(tmp_path).values()) == {1}


def test_a_dropped_item_stays_so_where_a_step_below_its_parts_changes(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        cut("d", "c", each="c"),
        at("d", "f"),
        gather("g", "d", roles=["d"], does={"a": ["drop"]}),
    ]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    before = executions(tmp_path)
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.f.value=1")
    assert again.items == {"done": 0, "dropped": 1, "failed": 0, "reused": 1}
    assert query(tmp_path, "SELECT outcome FROM items WHERE parent IS NULL") == [("dropped",)]
    assert executions(tmp_path) == before


def test_parts_are_not_made_again_for_a_step_that_has_them(tmp_path: Path) -> None:
    """The step that gathers has to wait until another's parts have been looked at."""
    steps = [cut("c"), at("c", "f"), gather("g", "c", "f"), gather("h", "f", "g", roles=["f"])]
    keep = "stages.c.keep=false"

    def drain_at_the_last_step(run: Run) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, AttemptEnded) and event.stage == "g":
                run.drain("interrupted", "as told")

        run.events.subscribe(listen)

    run_within(SECONDS, line(*steps), tmp_path, ["a"], keep, also=drain_at_the_last_step)
    assert not any(stage == "h" for stage, _ in executions(tmp_path))
    run_within(SECONDS, line(*steps), tmp_path, ["a"], keep)
    assert set(executions(tmp_path).values()) == {1}


def drain_at(stage: str, count: int = 1) -> Callable[[Run], None]:
    """Stop the run as so many attempts of this stage have ended."""

    def also(run: Run) -> None:
        left = count

        def listen(event: Event) -> None:
            nonlocal left
            left -= isinstance(event, AttemptEnded) and event.stage == stage
            if not left:
                run.drain("interrupted", "as told")

        run.events.subscribe(listen)

    return also


READ_AND_GONE = [cut("c"), toy("s"), at("c", "f", "c", "s"), at("c", "h", "f"), gather("g", "h")]
"""All parts read s, of which nothing is kept; and there is more to do with them."""


def test_what_all_parts_have_read_is_not_made_again_for_steps_behind(tmp_path: Path) -> None:
    keep = ["stages.s.keep=false", "stages.h.workers=1"]
    pipeline = line(*READ_AND_GONE)
    run_within(SECONDS, pipeline, tmp_path, ["a"], *keep, also=drain_at("f", 3))
    assert len(list(tmp_path.glob("items/*/c.parts/*/f"))) == 3
    assert len(list(tmp_path.glob("items/*/c.parts/*/h"))) < 3
    assert not list(tmp_path.glob("items/*/s"))
    run_within(SECONDS, pipeline, tmp_path, ["a"], *keep)
    assert set(executions(tmp_path).values()) == {1}


def test_it_is_made_again_where_a_part_has_to_read_it_again(tmp_path: Path) -> None:
    keep = ["stages.s.keep=false", "stages.h.workers=1"]
    pipeline = line(*READ_AND_GONE)
    run_within(SECONDS, pipeline, tmp_path, ["a"], *keep, also=drain_at("f", 3))
    [lost] = tmp_path.glob("items/*/c.parts/00000002/f")
    shutil.rmtree(lost)
    run_within(SECONDS, pipeline, tmp_path, ["a"], *keep)
    again = [call for call, count in executions(tmp_path).items() if count > 1]
    assert [stage for stage, _ in sorted(again)] == ["f", "s"]


def test_parts_that_wait_keep_what_they_came_to_earlier(tmp_path: Path) -> None:
    """Also where it will not hold: until their item has what they wait for, nobody knows."""
    parts = [cut("c"), at("c", "f", "c", "w")]
    run_within(SECONDS, line(toy("w"), *parts), tmp_path, ["a"])

    def drain_at_the_last_part(run: Run) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, PartEntered) and event.position == 2:
                run.drain("interrupted", "as told")

        run.events.subscribe(listen)

    steps = [toy("w", does={"a": ["throttled", 2, 60.0]}), *parts]
    changed = ["stages.w.value=1", "stages.c.value=1"]
    report = run_within(
        SECONDS, line(*steps), tmp_path, ["a"], *changed, also=drain_at_the_last_part
    )
    assert report.discrepancies == []
    before = executions(tmp_path)
    run_within(SECONDS, line(toy("w"), *parts), tmp_path, ["a"], "stages.w.value=1")
    assert {stage for stage, _ in executions(tmp_path) - before} == {"w", "c", "f"}


def test_parts_are_not_made_again_where_others_read_what_made_them(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        at("c", "f"),
        cut("d", "c", "f", cuts={"a": 2}),
        at("d", "h", "d", "c"),
    ]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.keep=false")
    before = executions(tmp_path)
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.keep=false")
    assert again.items["reused"] == 1
    assert executions(tmp_path) == before


def test_parts_of_parts_that_wait_are_looked_at_and_not_done_again(tmp_path: Path) -> None:
    """A part that waits for an output of its item, out of memory, keeps what its own parts came
    to: what reads that, and was deleted since, is not made again."""
    steps = [
        toy("w", does={"v": ["transient", -1]}),
        cut("c"),
        at("c", "a"),
        cut("d", "c", each="c"),
        at("d", "f", "d", "w"),
        gather("g", "f", "a", roles=["f"], each="c"),
    ]
    pipeline = line(*steps)
    sets = ["stages.a.keep=false", "stages.w.optional=true", "limits.backoff=0.3"]
    run_within(SECONDS, pipeline, tmp_path, ["v"], *sets)
    graph = Graph(pipeline, {})
    ledger = Ledger(tmp_path / FILE)
    ledger.retrying.reset({name: graph.descendants(name) for name in graph.names}, stage="w")
    ledger.close()
    before = executions(tmp_path)
    entered: list[str] = []

    def note(run: Run) -> None:
        run.events.subscribe(lambda e: entered.append(e.item) if type(e) is PartEntered else None)

    report = run_within(SECONDS, pipeline, tmp_path, ["v"], *sets, also=note)
    assert report.discrepancies == []
    assert any("d.parts" in part for part in entered)
    assert {stage for stage, _ in executions(tmp_path) - before} == {"w"}


def test_a_step_without_parts_has_ended_once_its_other_inputs_have(tmp_path: Path) -> None:
    """Not as soon as it is known that there are none: what comes after it would begin too early."""
    steps = [cut("c", cuts={"v": 0}), toy("w"), toy("x", "w"), at("c", "f", "c", "x")]
    pipeline = line(*steps)
    run_within(SECONDS, pipeline, tmp_path, ["v"])
    for value in (1, 2):
        run_within(SECONDS, pipeline, tmp_path, ["v"], f"stages.w.value={value}")
        told = query(tmp_path, "SELECT stage, outcome, parts FROM stages ORDER BY stage")
        assert told == [
            ("c", "done", 0),
            ("f", "done", 0),
            ("w", "done", None),
            ("x", "done", None),
        ]


def test_what_is_gathered_of_a_failed_part_is_made_again_where_it_was_deleted(
    tmp_path: Path,
) -> None:
    steps = [
        cut("c", cuts={"v": 2}),
        at("c", "f"),
        at("c", "h", "f", does={"v/0": ["permanent"]}),
        gather("g", "f"),
    ]
    sets = ["stages.c.most_failed=1", "stages.f.keep=false"]
    run_within(SECONDS, line(*steps), tmp_path, ["v"], *sets)
    seen = read_value(Item.at(tmp_path, "v"), "g")["parts"]
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["v"], *sets, "stages.g.value=1")
    assert read_value(Item.at(tmp_path, "v"), "g")["parts"] == seen
    assert len(seen["f"]) == 2
    assert {stage for stage, _ in executions(tmp_path) - before} == {"f", "g"}


def test_a_step_that_a_failed_part_had_not_reached_is_gathered_once_it_has(tmp_path: Path) -> None:
    """The step stands beside the one that failed the part, and had not begun with it by then."""
    has_failed = threading.Event()

    class Waits(Toy):
        def act(self, item: Item, out: Path) -> Any:
            assert has_failed.wait(SECONDS)
            return super().act(item, out)

    def steps(**does: Any) -> Any:
        return line(
            cut("c", cuts={"v": 2}),
            at("c", "e", does=does),
            at("c", "f", base=Waits),
            gather("g", "f"),
        )

    def tell_of_the_failure(run: Run) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, PartEnded) and event.outcome == "failed":
                has_failed.set()

        run.events.subscribe(listen)

    sets = ["stages.c.most_failed=1", "stages.f.keep=false", "stages.f.workers=1"]
    fails = steps(**{"v/1": ["permanent"]})
    run_within(SECONDS, fails, tmp_path, ["v"], *sets, also=tell_of_the_failure)
    item = Item.at(tmp_path, "v")
    assert [position for position, *_ in read_value(item, "g")["parts"]["f"]] == [0]
    run_within(SECONDS, steps(), tmp_path, ["v"], *sets, "stages.e.value=1")
    assert [position for position, *_ in read_value(item, "g")["parts"]["f"]] == [0, 1]
    before = executions(tmp_path)
    run_within(SECONDS, steps(), tmp_path, ["v"], *sets, "stages.e.value=1")
    assert executions(tmp_path) == before


def test_parts_that_a_killed_run_had_yet_to_remove_do_not_split_the_item_again(
    tmp_path: Path,
) -> None:
    steps = line(cut("c", cuts={"v": 2}), at("c", "f"), gather("g", "f"))
    work, part = tmp_path / "work", Item.at(tmp_path / "work", "v").part("c", 2, {"piece": 2})
    run_within(SECONDS, steps, work, ["v"], "stages.c.more=1")
    shutil.copytree(part.folder, tmp_path / "kept")
    ledger = Ledger(work / FILE)
    row = ledger.parts.one(part)
    ledger.close()
    assert row is not None
    run_within(SECONDS, steps, work, ["v"])
    before = executions(work)
    shutil.copytree(tmp_path / "kept", part.folder)  # as if it had been killed just before
    ledger = Ledger(work / FILE)
    ledger.parts.admit(part, row.made, row.content, run=0)
    ledger.close()
    run_within(SECONDS, steps, work, ["v"], "stages.f.value=1")
    assert {stage for stage, _ in executions(work) - before} == {"f", "g"}
    assert not part.folder.exists()
    assert query(work, "SELECT COUNT(*) FROM items WHERE position = 2") == [(0,)]


def test_what_follows_from_a_part_that_comes_out_the_same_stands(tmp_path: Path) -> None:
    steps = line(cut("c"), at("c", "f"), gather("g", "f"))
    run_within(SECONDS, steps, tmp_path, ["v"])
    before = executions(tmp_path)
    run_within(SECONDS, steps, tmp_path, ["v"], "stages.c.more=1")
    item = Item.at(tmp_path, "v")
    again = {(stage, id_) for stage, id_ in executions(tmp_path) - before if stage != "c"}
    assert again == {("f", item.part("c", 3).id), ("g", item.id)}
    assert [position for position, *_ in read_value(item, "g")["parts"]["f"]] == [0, 1, 2, 3]
