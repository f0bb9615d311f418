"""Parts through a whole run: split, worked on, gathered, taken up again."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from engine import Drop, Item, Stage, Step, run_pipeline
from engine.flow.run import Run
from engine.ledger.reader import LedgerReader
from engine.telemetry.events import Event, Events, PartEnded, PartEntered
from engine.views.json_log import JsonLog
from tests.engine.toy_parts import Cutter, LoopCutter, at, cut, gather
from tests.engine.toys import (
    Toy,
    configured,
    executions,
    leftovers,
    line,
    query,
    read_value,
    run_within,
    toy,
    tree,
)

SECONDS = 20.0


def gathered(workdir: Path, source: str, step: str, role: str) -> Any:
    return [one[0] for one in read_value(Item.at(workdir, source), step)["parts"][role]]


def test_parts_go_through_their_steps_and_are_gathered(tmp_path: Path) -> None:
    for number, base in enumerate((Cutter, LoopCutter)):
        steps = [cut("c", base=base), at("c", "f"), gather("g", "f")]
        workdir = tmp_path / str(number)
        report = run_within(SECONDS, line(*steps), workdir, ["a", "b"])
        assert report.items == {"done": 2, "dropped": 0, "failed": 0, "reused": 0}
        assert gathered(workdir, "a", "g", "f") == [0, 1, 2]
        assert [(c.stage, c.entered, c.done) for c in report.counts] == [
            ("c", 2, 2), ("f", 6, 6), ("g", 2, 2),
        ]  # fmt: skip
        again = run_within(SECONDS, line(*steps), workdir, ["a", "b"])
        assert again.items["reused"] == 2
        assert set(executions(workdir).values()) == {1}
        assert not leftovers(workdir)


def test_a_failed_part_fails_its_item_and_a_gap_is_said(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f", does={"a/1": ["permanent"]}), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items == {"done": 1, "dropped": 0, "failed": 1, "reused": 0}
    again = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert again.items["failed"] == 1
    assert set(executions(tmp_path).values()) == {1}
    some = "stages.c.most_failed=1"
    report = run_within(SECONDS, line(*steps), tmp_path / "more", ["a", "b"], some)
    assert report.items == {"done": 2, "dropped": 0, "failed": 0, "reused": 0}
    assert (report.with_gaps, report.exit_code) == (1, 1)
    assert gathered(tmp_path / "more", "a", "g", "f") == [0, 2]
    gaps = query(tmp_path / "more", "SELECT stage, parts, gaps FROM stages WHERE gaps > 0")
    assert gaps == [("f", 3, 1)]
    # One that was given again and is done with a gap is told of, one that was not given is not.
    again = run_within(SECONDS, line(*steps), tmp_path / "more", ["a"], some)
    assert (again.items["reused"], again.with_gaps, again.exit_code) == (1, 1, 1)
    other = run_within(SECONDS, line(*steps), tmp_path / "more", ["b"], some)
    assert (other.gaps, other.with_gaps, other.exit_code) == (1, 0, 0)


def test_a_gap_of_a_part_of_a_part_is_one(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        cut("d", "c", each="c"),
        at("d", "f", does={"a/1/2": ["permanent"]}),
        gather("g", "f", each="c"),
        gather("h", "g"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], "stages.d.most_failed=1")
    assert report.items["done"] == 2
    assert (report.gaps, report.with_gaps, report.exit_code) == (1, 1, 1)


def test_a_step_that_gathers_is_told_why_parts_are_missing(tmp_path: Path) -> None:
    told: dict[int, str | None] = {}

    class Tells(Stage):
        """Asks each part why it is not there."""

        name = "g"
        inputs: ClassVar[Any] = ("c", "f")

        def process(self, item: Item, out: Path) -> None:
            told.update((part.position, part.why_failed("f")) for part in item.parts("c"))

    steps = [
        cut("c"),
        at("c", "e", does={"a/2": ["permanent"]}),
        at("c", "f", "e", does={"a/1": ["permanent"]}),
        Step(Tells, after=["c", "f"]),
    ]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.most_failed=2")
    assert told == {0: None, 1: "told to", 2: "told to"}


def test_a_part_may_be_no_list(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f", does={"a/1": ["expand", ["b"]]}), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.f.attempts=1")
    assert report.items == {"done": 0, "dropped": 0, "failed": 1, "reused": 0}
    [(reason,)] = query(tmp_path, "SELECT reason FROM stages WHERE item LIKE '%1' AND stage = 'f'")
    assert "only whole items may be lists" in reason
    assert not leftovers(tmp_path)


def test_an_item_is_dropped_with_all_of_its_parts(tmp_path: Path) -> None:
    does = {f"a/{n}": ["drop"] for n in range(3)} | {"b/0": ["drop"]}
    steps = [cut("c"), at("c", "f", does=does), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items == {"done": 1, "dropped": 1, "failed": 0, "reused": 0}
    assert gathered(tmp_path, "b", "g", "f") == [1, 2]
    again = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert again.items["reused"] == 2


def test_parts_read_what_their_item_has_and_wait_for_it(tmp_path: Path) -> None:
    steps = [
        toy("w"),
        cut("c"),
        at("c", "f", "c", "w"),
        gather("g", "f"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items["done"] == 2
    part = Item.at(tmp_path, "a").part("c", 1)
    assert read_value(part, "f")["before"]["w"]["stage"] == "w"


def test_a_step_at_parts_waits_for_what_gathers_them(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("w", "f"), at("c", "h", "f", "w"), gather("g", "h")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items["done"] == 2
    assert gathered(tmp_path, "a", "g", "h") == [0, 1, 2]
    again = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert again.items["reused"] == 2
    assert set(executions(tmp_path).values()) == {1}


def test_nested_parts(tmp_path: Path) -> None:
    steps = [
        cut("c", cuts={"a": 2}),
        cut("d", "c", each="c", cuts={"a/0": 0, "a/1": 4}),
        at("d", "f", "d"),
        gather("h", "f", each="c"),
        gather("g", "h"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert report.items["done"] == 1
    assert gathered(tmp_path, "a", "g", "h") == [0, 1]
    part = Item.at(tmp_path, "a").part("c", 1)
    assert [one[0] for one in read_value(part, "h")["parts"]["f"]] == [0, 1, 2, 3]
    told: list[Event] = []
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"], listen=told.append)
    assert again.items["reused"] == 1
    assert not any(isinstance(event, PartEntered) for event in told), "nothing has to be looked at"
    assert set(executions(tmp_path).values()) == {1}


def test_a_changed_setting_redoes_the_parts_and_what_follows(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), at("c", "h", "f"), gather("g", "h")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.h.value=1")
    again = {stage for stage, _ in executions(tmp_path) - before}
    assert again == {"h", "g"}


def test_other_parts_leave_nothing_of_the_old_ones(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("g", "f")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.more=2")
    assert gathered(tmp_path, "a", "g", "f") == [0, 1, 2, 3, 4]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert gathered(tmp_path, "a", "g", "f") == [0, 1, 2]
    assert query(tmp_path, "SELECT count(*) FROM items") == [(4,)]
    assert not [path for path in tree(tmp_path) if "00000003" in path]


def test_outputs_go_when_their_readers_have_them(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), at("c", "h", "f"), gather("g", "h")]
    keep = ["stages.c.keep=false", "stages.f.keep=false", "stages.h.keep=false"]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    left = [path for path in tree(tmp_path, marks=False) if path.endswith("value.json")]
    assert [path.split("/")[-2] for path in left] == ["g"]
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    assert again.items["reused"] == 1
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep, "stages.h.value=1")
    assert {stage for stage, _ in executions(tmp_path) - before} == {"c", "f", "h", "g"}


def test_a_splitter_that_fails_goes_on_after_its_last_part(tmp_path: Path) -> None:
    steps = [cut("c", does={"a/2": ["transient", 1]}), at("c", "f"), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert report.items["done"] == 1
    made = (tmp_path / "cut").read_text().split("\n")
    assert len([line for line in made if line]) == 3
    assert {n for (stage, _), n in executions(tmp_path).items() if stage == "f"} == {1}


def test_a_splitter_that_makes_all_again_keeps_what_is_the_same(tmp_path: Path) -> None:
    steps = [
        cut("c", does={"a/2": ["transient", 1]}, resumes=False),
        at("c", "f"),
        gather("g", "f"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert report.items["done"] == 1
    assert {n for (stage, _), n in executions(tmp_path).items() if stage == "f"} == {1}
    assert not leftovers(tmp_path)


def test_who_embeds_the_engine_is_told_of_each_part_once_the_ledger_has_it(tmp_path: Path) -> None:
    told: list[tuple[PartEnded, str]] = []

    def on_part(part: PartEnded) -> None:
        ((outcome,),) = query(tmp_path, "SELECT outcome FROM items WHERE id = ?", part.item)
        told.append((part, outcome))

    pipeline = line(cut("c"), at("c", "f", does={"a/1": ["drop"]}), gather("g", "f"))
    log, events = JsonLog(tmp_path / "log.jsonl"), Events()
    events.subscribe(log)
    run_pipeline(
        pipeline, configured(pipeline), tmp_path, ["a", "b"], events=events, on_part=on_part
    )
    log.close()
    assert Counter(part.outcome for part, _ in told) == {"done": 5, "dropped": 1}
    assert all(outcome == part.outcome for part, outcome in told)
    assert all((Path(p.folder) / "f" / "value.json").is_file() for p, how in told if how == "done")
    lines = [json.loads(entry) for entry in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = [(one["item"], one["outcome"]) for one in lines if one["event"] == "PartEnded"]
    assert logged == [(part.item, part.outcome) for part, _ in told]
    made = {(one["split"], one["parts"]) for one in lines if one["event"] == "SplitEnded"}
    assert made == {("c", 3)}
    ends = [one["event"] for one in lines if one["event"] in ("PartEnded", "ItemEnded")]
    assert ends[-1] == "ItemEnded"


def test_every_part_that_ends_is_an_event(tmp_path: Path) -> None:
    told: list[PartEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, PartEnded):
            told.append(event)

    steps = [cut("c"), at("c", "f", does={"a/1": ["drop"]}), gather("g", "f")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], listen=listen)
    assert sorted((e.position, e.outcome) for e in told) == [
        (0, "done"),
        (1, "dropped"),
        (2, "done"),
    ]
    assert all(Path(event.folder).is_dir() for event in told)


def test_parts_that_go_no_further_are_abandoned(tmp_path: Path) -> None:
    told: list[PartEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, PartEnded):
            told.append(event)

    steps = [cut("c", cuts={"a": 9}), at("c", "f", does={"a/0": ["permanent"]}), gather("g", "f")]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"], listen=listen)
    parts = report.parts
    assert (parts.failed, parts.pending) == (1, 0)
    assert parts.entered == parts.done + parts.failed + parts.abandoned
    outcomes = Counter(part.outcome for part in told)
    assert outcomes == Counter(done=parts.done, failed=1, abandoned=parts.abandoned)
    again = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert again.parts == parts


def test_parts_that_waited_for_an_output_of_a_failed_item_are_abandoned(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        cut("d", "c", each="c"),
        toy("w", "c", does={"a": ["permanent"]}),
        at("d", "f", "d", "w"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items == {"done": 1, "dropped": 0, "failed": 1, "reused": 0}
    assert report.parts.pending == 0
    assert report.parts.abandoned > 0
    assert report.parts.entered == report.parts.done + report.parts.abandoned


def test_a_part_keeps_its_own_files(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("g", "f")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert (Item.at(tmp_path, "a").part("c", 1).folder / "c" / "value.json").is_file()


def test_a_change_below_parts_is_noticed_where_nothing_gathers(tmp_path: Path) -> None:
    steps = [cut("c"), cut("d", "c", each="c"), at("d", "f")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.f.value=1")
    again = executions(tmp_path) - before
    assert {stage for stage, _ in again} == {"f"}
    assert len(again) == 9


def test_an_output_in_parts_stays_until_all_of_them_read_it(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("g", "f"), toy("w"), at("c", "h", "f", "w", "g")]
    keep = ["stages.c.keep=false", "stages.f.keep=false"]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    for position in range(3):
        read = read_value(Item.at(tmp_path, "a").part("c", position), "h")["before"]
        assert read["f"]["before"]["c"] == {"piece": f"a/{position}", "value": 0}
    left = {path.split("/")[-2] for path in tree(tmp_path, marks=False)}
    assert not left & {"c", "f"}


def test_parts_that_a_later_step_reads_are_made_again(tmp_path: Path) -> None:
    steps = [cut("c"), gather("g", "c")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.keep=false")
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.keep=false", "stages.g.value=1")
    seen = read_value(Item.at(tmp_path, "a"), "g")["parts"]["c"]
    assert [one[0] for one in seen] == [0, 1, 2]
    before = executions(tmp_path)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.keep=false", "stages.g.value=1")
    assert executions(tmp_path) == before


def test_an_item_whose_parts_have_to_go_on_is_not_done(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("g", "f")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])

    def drain_at_the_first_part(run: Run) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, PartEntered):
                run.drain("interrupted", "as told")

        run.events.subscribe(listen)

    run_within(
        SECONDS, line(*steps), tmp_path, ["a"], "stages.f.value=1", also=drain_at_the_first_part
    )
    assert query(tmp_path, "SELECT outcome FROM items WHERE parent IS NULL") == [("pending",)]
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert query(tmp_path, "SELECT DISTINCT outcome FROM items") == [("done",)]


class Strict(Toy):
    """Drops an item of whose parts fewer than three have an output here."""

    def judge(self, outputs: Iterator[Path]) -> None:
        found = list(outputs)
        if len(found) < 3:
            raise Drop(f"only {len(found)} parts", kind="few")


def test_a_step_at_parts_judges_the_whole_item(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        at("c", "f", base=Strict, does={"a/1": ["drop"]}),
        gather("g", "f"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert report.items == {"done": 1, "dropped": 1, "failed": 0, "reused": 0}
    rows = query(tmp_path, "SELECT stage, outcome, kind, reason FROM stages WHERE kind = 'few'")
    assert rows == [("f", "dropped", "few", "only 2 parts")]
    with LedgerReader(tmp_path) as reader:
        drops = [(kind.stage, kind.kind, kind.count, kind.of_parts) for kind in reader.drops()]
        assert drops == [("f", "drop", 1, True), ("f", "few", 1, False)]
        [few] = [kind for kind in reader.drops() if kind.kind == "few"]
        assert [one.reason for one in reader.examples("dropped", few, 5)] == ["only 2 parts"]
    f = report.counts[1]
    assert (f.entered, f.done, f.dropped) == (6, 5, 1), "the item itself is none of its parts"
    again = run_within(SECONDS, line(*steps), tmp_path, ["a", "b"])
    assert again.items["reused"] == 2


def test_parts_of_parts_wait_for_what_gathers_those_above(tmp_path: Path) -> None:
    steps = [
        cut("c"),
        cut("d", "c", each="c"),
        cut("w", "d"),
        at("d", "f", "d", "w"),
    ]
    report = run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert report.items["done"] == 1
    again = run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert again.items["reused"] == 1
    assert set(executions(tmp_path).values()) == {1}


def test_a_splitting_step_that_was_skipped_is_not_done_again(tmp_path: Path) -> None:
    steps = [cut("c", does={"a/1": ["skip"]}), at("c", "f"), gather("g", "f")]
    for _ in range(2):
        report = run_within(SECONDS, line(*steps), tmp_path, ["a"])
        assert report.items["done"] == 1
        assert gathered(tmp_path, "a", "g", "f") == []
        assert query(tmp_path, "SELECT count(*) FROM items") == [(1,)]
    assert executions(tmp_path)["c", Item.at(tmp_path, "a").id] == 1


def test_parts_are_made_again_where_what_they_are_made_of_is_too(tmp_path: Path) -> None:
    steps = [toy("w"), cut("c", "w"), at("c", "f", "c", "w"), gather("g", "f")]
    keep = ["stages.w.keep=false", "stages.c.keep=false"]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep)
    run_within(SECONDS, line(*steps), tmp_path, ["a"], *keep, "stages.f.value=1")
    read = read_value(Item.at(tmp_path, "a").part("c", 1), "f")["before"]
    assert read["c"] == {"piece": "a/1", "value": 0}


def test_a_step_beside_the_parts_sees_none_of_earlier_ones(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f"), gather("g", "c")]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.c.more=2")
    run_within(SECONDS, line(*steps), tmp_path, ["a"])
    assert gathered(tmp_path, "a", "g", "c") == [0, 1, 2]
    run_within(SECONDS, line(*steps), tmp_path, ["a"], "stages.f.value=1")
    assert gathered(tmp_path, "a", "g", "c") == [0, 1, 2]
