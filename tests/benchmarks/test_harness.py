"""The scorer: what the benchmarks count with is itself held against known answers."""

import importlib
import json
import re
from pathlib import Path

import pytest

import benchmarks
from benchmarks.harness import finish, parse, parser, ratios, save, table, take_turns, timed
from benchmarks.page import PAGE, page_of, with_results
from benchmarks.results import FOLDER, Measurement, Target, result_of_file
from engine.bench.intervals import Interval

MODULES = sorted(file.stem for file in Path(benchmarks.__path__[0]).glob("*.py"))
MACHINE = {"processor": "p", "cores": 2, "python": "3", "date": "2026-01-01", "versions": {}}


def test_a_ratio_is_taken_turn_by_turn() -> None:
    """The machine slows down tenfold for one round: the ratio does not notice."""
    own = [{"wall s": 1.0}, {"wall s": 10.0}, {"wall s": 1.0}]
    other = [{"wall s": 2.0}, {"wall s": 20.0}, {"wall s": 2.0}]
    assert ratios(own, other, "wall s") == Interval(0.5, 0.5, 0.5)


def test_different_numbers_of_turns_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([{"wall s": 1.0}], [{"wall s": 1.0}] * 2, "wall s")


def test_turns_are_interleaved_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def contestant(name: str) -> dict[str, float]:
        order.append(name)
        return {"wall s": float(len(order))}

    taken = take_turns({n: lambda n=n: contestant(n) for n in "abc"}, rounds=3)  # type: ignore[misc]

    rounds = ["".join(order[at : at + 3]) for at in range(0, 12, 3)]
    assert [sorted(one) for one in rounds] == [["a", "b", "c"]] * 4
    assert len(set(rounds[1:])) == 3, "whoever goes first changes"
    assert {name: len(turns) for name, turns in taken.items()} == dict.fromkeys("abc", 3)
    assert min(turn["wall s"] for turns in taken.values() for turn in turns) == 4


def test_processor_time_is_not_waiting() -> None:
    figures = timed(lambda: sum(range(3_000_000)))()
    assert figures["wall s"] > 0
    assert figures["CPU s"] > 0


def test_targets_are_judged_by_the_median() -> None:
    value = Interval(0.6, 0.4, 0.9)
    assert Target("x", value, 0.6).met
    assert not Target("x", value, 0.59).met
    assert Target("x", value, 0.6, at_least=True).met
    assert not Target("x", value, 0.61, at_least=True).met


@pytest.fixture
def result() -> Measurement:
    taken = {
        "penstock": [{"wall s": 1.0, "CPU s": 2.0}] * 3,
        "the other": [{"wall s": 4.0, "CPU s": 1.0}] * 3,
    }
    return Measurement(
        name="one",
        title="One thing",
        tables=[table("work", taken, "penstock")],
        targets=[Target("time", Interval(0.25, 0.2, 0.3), 0.5)],
        rounds=3,
        command="python -m benchmarks.one",
        machine=MACHINE,
    )


def test_a_result_comes_back_as_it_was_saved(result: Measurement, tmp_path: Path) -> None:
    save(result, tmp_path)
    assert result_of_file(tmp_path / "one.json").as_dict() == result.as_dict()
    assert json.loads((tmp_path / "one.json").read_text())["targets"][0]["met"] is True
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_is_saved_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "benchmarks/one.py",
        "--rounds",
        "2",
        f"--save={tmp_path}",
        "--save-as",
        "two",
        "--big",
        "--baseline",
        str(tmp_path),
    ]
    monkeypatch.setattr("sys.argv", words)
    made = parser("One thing.", rounds=3)
    made.add_argument("--big", action="store_true")
    made.add_argument("--baseline")
    target = Target("time", Interval(0.25, 0.2, 0.3), 0.5)
    finish(Measurement("one", "One thing", [], [target], rounds=2), parse(made))
    found = result_of_file(tmp_path / "two.json")
    told = "python -m benchmarks.one --rounds 2 --big --baseline CHECKOUT"
    assert (found.name, found.command) == ("two", told)
    assert (tmp_path / "two.png").exists()


def test_a_result_becomes_a_page(result: Measurement, tmp_path: Path) -> None:
    save(result, tmp_path)
    page = with_results("a\n<!-- benchmarks: one -->\nold\n<!-- end -->\nz\n", tmp_path)
    target = "| time | at most 0.5 | 0.250 [0.200 to 0.300] | met |"
    assert "1 of 1 targets are met.\n\n" in page
    assert f"| [one](benchmarks/one.md) {target}\n" in page
    assert "| one | `python -m benchmarks.one` | 3 | 2026-01-01, 2 cores |" in page
    assert target in (tmp_path / "one.md").read_text()
    assert "![One thing](one.png)" in (tmp_path / "one.md").read_text()
    assert "old" not in page
    assert page.startswith("a\n")
    assert page.endswith("<!-- end -->\nz\n")
    assert with_results(page, tmp_path) == page


def test_a_missed_target_is_said_to_be(result: Measurement) -> None:
    missed = Target("time", Interval(0.6, 0.5, 0.7), 0.5)
    assert "**missed**" in page_of(Measurement("n", "t", [], [missed], 3, machine=MACHINE))
    assert "MISSED" in Measurement("n", "t", [], [missed], 3, machine=MACHINE).render()


def test_the_pages_show_what_was_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_results(text), "run `python -m benchmarks.page` to write it anew"
    for file in FOLDER.glob("*.json"):
        assert file.with_suffix(".md").read_text(encoding="utf-8") == page_of(result_of_file(file))


def test_every_result_is_quoted_and_none_of_them_is_quick() -> None:
    [names] = re.findall(r"<!-- benchmarks: ([\w ]+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(names.split()) == sorted(file.stem for file in FOLDER.glob("*.json"))
    for name in names.split():
        assert not result_of_file(FOLDER / f"{name}.json").quick


@pytest.mark.parametrize("name", MODULES)
def test_each_module_imports_without_the_peers(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
