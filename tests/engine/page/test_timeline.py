"""Attempts as columns: complete however often they were read, and bounded."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Item
from engine.ledger.reader import LedgerReader
from engine.page.timeline import OUTCOMES, Timeline, spans_of
from tests.engine.page.ledgers import START, add_attempts, add_run, finish_attempt, made_ledger
from tests.engine.toys import fast_folder

Rows = set[tuple[object, ...]]


def take_in(timeline: Timeline, workdir: Path, now: float | None = None) -> None:
    with LedgerReader(workdir) as reader:
        timeline.read(reader, spans_of(reader.runs(), reader, None if now is None else START + now))


def rows(timeline: Timeline) -> Rows:
    told = timeline.since(-1, 0, 0)
    return {
        (told["items"][item], *rest)
        for item, *rest in zip(
            *(told[name] for name in ("item", "stage", "start", "length", "outcome")), strict=True
        )
    }


def test_attempts_are_placed_on_the_time_of_running(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        first = add_run(ledger, 0.0, 10.0)
        add_attempts(ledger, first, [("v1", "a", 1.0, 3.5, "done"), ("v1", "b", 4, 5, "failed")])
        second = add_run(ledger, 1000.0, 1020.0)
        add_attempts(ledger, second, [("v2", "a", 1001.0, 1001.25, "retried")])
    timeline = Timeline(["a", "b"])

    take_in(timeline, tmp_path)

    assert rows(timeline) == {
        ("v1", 0, 1000, 2500, OUTCOMES.index("done")),
        ("v1", 1, 4000, 1000, OUTCOMES.index("failed")),
        ("v2", 0, 11000, 250, OUTCOMES.index("retried")),
    }


def test_a_killed_run_lasted_until_its_last_sign(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        killed = add_run(ledger, 0.0, None)
        add_attempts(ledger, killed, [("v1", "a", 1.0, 7.0, "done")])
        add_run(ledger, 100.0, 101.0)
    with LedgerReader(tmp_path) as reader:
        spans = spans_of(reader.runs(), reader, None)

    assert [(span.offset, span.length) for span in spans] == [(0, 7000), (7000, 1000)]


def test_what_is_at_work_is_told_and_then_over(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, None)
        add_attempts(ledger, run, [("v1", "a", 1.0, None, "")])
    timeline = Timeline(["a"])
    take_in(timeline, tmp_path, now=5.0)
    assert timeline.since(-1, 0, 0)["open"] == [["v1", 0, 0, 1, 1000]]
    assert len(timeline) == 0

    with made_ledger(tmp_path) as ledger:
        finish_attempt(ledger, 1, 6.0)
    take_in(timeline, tmp_path, now=7.0)

    told = timeline.since(timeline.generation, 0, 0)
    assert (told["open"], told["start"], told["length"]) == ([], [1000], [5000])


def test_who_has_seen_some_is_told_the_rest(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, 100.0)
        add_attempts(ledger, run, [("v1", "a", 1, 2, "done"), ("v2", "a", 2, 3, "done")])
    timeline = Timeline(["a"])
    take_in(timeline, tmp_path)

    told = timeline.since(0, 1, 1)

    assert (told["from"], told["fromItem"]) == (1, 1)
    assert (told["items"], told["item"], told["start"]) == (["v2"], [1], [2000])


ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from([f"v{number}" for number in range(12)]),
        st.sampled_from(["a", "b", "gone"]),
        st.integers(0, 50),
        st.none() | st.integers(1, 50),
        st.sampled_from(OUTCOMES),
    ),
    max_size=30,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(parts=st.lists(ATTEMPTS, min_size=1, max_size=4), most=st.sampled_from([5, 1000]))
def test_reading_bit_by_bit_finds_what_reading_once_does(
    parts: list[list[tuple[str, str, int, int | None, str]]], most: int
) -> None:
    with fast_folder() as workdir:
        bit_by_bit = Timeline(["a", "b"], most)
        with made_ledger(workdir) as ledger:
            run = add_run(ledger, 0.0, None)
        for part in parts:
            attempts = [
                (source, stage, float(begin), None if took is None else float(begin + took), how)
                for source, stage, begin, took, how in part
            ]
            with made_ledger(workdir) as ledger:
                add_attempts(ledger, run, attempts)
            take_in(bit_by_bit, workdir, now=200.0)
        at_once = Timeline(["a", "b"], most)
        take_in(at_once, workdir, now=200.0)

        assert rows(bit_by_bit) == rows(at_once)
        assert bit_by_bit.stride == at_once.stride
        assert len(at_once) <= most
        shown = {source for source, *_ in rows(at_once)}
        everything = Timeline(["a", "b"])
        take_in(everything, workdir, now=200.0)
        assert rows(at_once) == {row for row in rows(everything) if row[0] in shown}


@pytest.mark.parametrize("most", [10, 1000])
def test_a_timeline_is_bounded_and_says_what_it_leaves_out(tmp_path: Path, most: int) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, 1000.0)
        add_attempts(
            ledger, run, [(f"v{n}", stage, n, n + 1, "done") for n in range(200) for stage in "ab"]
        )
    timeline = Timeline(["a", "b"], most)

    take_in(timeline, tmp_path)

    assert len(timeline) <= most
    assert (timeline.stride > 1) == (most < 400)
    told = timeline.since(0, 3, 3)
    assert told["from"] == (0 if timeline.generation else 3)


def test_the_attempts_at_parts_are_in_the_row_of_their_item(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, None)
        add_attempts(
            ledger,
            run,
            [
                ("v1", "a", 0.0, 9.0, "done"),
                ("v1#0", "b", 1.0, 2.0, "done"),
                ("v2#0", "b", 2.0, 3.0, "failed"),
                ("v1#1", "b", 3.0, 4.0, "done"),
                ("v1#2", "b", 4.0, None, ""),
            ],
        )
    timeline = Timeline(["a", "b"])

    take_in(timeline, tmp_path, now=10.0)

    told = timeline.since(-1, 0, 0)
    assert told["items"] == ["v1", "v2"]
    assert (told["item"], told["part"]) == ([0, 0, 1, 0], [0, 1, 1, 2])
    assert told["open"] == [["v1", 3, 1, 1, 4000]]


def test_of_a_long_item_some_parts_are_left_out_and_not_the_item(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, 1000.0)
        parts = [(f"v#{n}", stage, n, n + 1.0, "done") for n in range(200) for stage in "bc"]
        add_attempts(ledger, run, [("v", "a", 0.0, 300.0, "done"), *parts])
    timeline = Timeline(["a", "b", "c"], 100)

    take_in(timeline, tmp_path)

    told = timeline.since(-1, 0, 0)
    assert 20 < len(timeline) <= 100
    assert told["items"] == ["v"]
    shown = [part for part in told["part"] if part]
    assert shown == sorted(shown)
    assert set(shown) == set(shown[::2]), "of a part all attempts are there, or none"


def test_the_attempts_of_a_part_that_is_none_any_more_are_not_at_work(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        run = add_run(ledger, 0.0, None)
        add_attempts(ledger, run, [("v#0", "b", 1.0, None, "")])
    timeline = Timeline(["a", "b"])
    take_in(timeline, tmp_path, now=2.0)
    assert len(timeline.since(-1, 0, 0)["open"]) == 1
    with made_ledger(tmp_path) as ledger:
        ledger.parts.forget(Item.at(tmp_path, "v").part("a", 0))
    take_in(timeline, tmp_path, now=3.0)
    assert timeline.since(-1, 0, 0)["open"] == []
