"""What outputs are made from beside settings: asked before a run, part of the fingerprint, kept."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import SOURCE, Item, PenstockError, Pipeline, PipelineError, Stage, Step, UsageError
from engine.ledger.reader import LedgerReader
from tests.engine.toys import Toy, executions, line, query, run, toy


class Made(Toy):
    """Is made from what the test says, and remembers what it was asked."""

    name = "made"
    optional_inputs = ("a",)
    answer: ClassVar[Any] = {"model": "x"}
    asked: ClassVar[list[Mapping[str, Any] | None]] = []
    had: ClassVar[list[Mapping[str, Any] | None]] = []

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        self.asked.append(earlier)
        if isinstance(self.answer, Exception):
            raise self.answer
        found: Mapping[str, Any] = self.answer
        return found

    def process(self, item: Item, out: Path) -> Any:
        self.had.append(self.ingredients)
        return self.act(item, out)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any] | None]:
    monkeypatch.setattr(Made, "asked", [])
    monkeypatch.setattr(Made, "had", [])
    return Made.asked


def chain(made: type[Stage] = Made) -> Pipeline:
    return line(toy("a"), Step(made, "a", "made", {"a": "a"}), toy("after", "made"))


def ran(workdir: Path, pipeline: Pipeline, *overrides: str) -> list[str]:
    """The steps that a run executed."""
    before = executions(workdir)
    report = run(pipeline, workdir, ["v"], *overrides)
    assert report.items["failed"] == 0
    return sorted(stage for stage, _ in executions(workdir) - before)


class Plain(Made):
    """The same stage in a release that was not asked."""

    name = "made"
    find_ingredients = Stage.find_ingredients


def test_the_answer_is_part_of_the_fingerprint(
    fast: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    assert ran(fast, chain()) == ["a", "after", "made"]
    assert Made.had == [{"model": "x"}]
    assert ran(fast, chain()) == []
    monkeypatch.setattr(Made, "answer", {"model": "y"})
    assert ran(fast, chain()) == ["after", "made"]
    monkeypatch.setattr(Made, "answer", {})
    assert ran(fast, chain()) == ["after", "made"]
    assert asked == [None, {"model": "x"}, {"model": "x"}, {"model": "y"}]


def test_what_a_release_made_that_did_not_ask_is_taken_up(
    fast: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    assert ran(fast, chain(Plain)) == ["a", "after", "made"]
    assert ran(fast, chain()) == []
    assert ran(fast, chain()) == []
    monkeypatch.setattr(Made, "answer", {"model": "y"})
    assert ran(fast, chain()) == ["after", "made"]
    assert ran(fast, chain()) == []
    assert asked == [{}, {"model": "x"}, {"model": "x"}, {"model": "y"}]
    monkeypatch.setattr(Made, "answer", {"model": "x"})
    assert ran(fast, chain()) == ["after", "made"]


class Knows(Made):
    """A release that knows what the one before it had no choice of."""

    name = "made"
    unrecorded: ClassVar[Mapping[str, Any]] = {"by": "hand"}


def test_what_is_known_of_unrecorded_outputs_is_not_taken_from_the_answer(
    fast: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    assert ran(fast, chain(Plain)) == ["a", "after", "made"]
    monkeypatch.setattr(Made, "answer", {"model": "x", "by": "machine"})
    assert ran(fast, chain(Knows)) == ["after", "made"]
    monkeypatch.setattr(Made, "answer", {"model": "x", "by": "hand"})
    assert ran(fast, chain(Knows)) == ["after", "made"]
    assert asked == [{"by": "hand"}, {"model": "x", "by": "machine"}]


def test_an_answer_that_comes_late_is_the_one_that_is_taken_up(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(fast, chain(Plain)) == ["a", "after", "made"]
    monkeypatch.setattr(Made, "answer", {})
    assert ran(fast, chain()) == []
    monkeypatch.setattr(Made, "answer", {"model": "x"})
    assert ran(fast, chain()) == []


def test_before_anything_has_ended_nothing_is_earlier(fast: Path, asked: list[Any]) -> None:
    breaks = toy("a", does={"v": ["permanent"]})
    pipeline = line(breaks, Step(Made, "a", "made", {"a": "a"}))
    for _ in range(2):
        run(pipeline, fast, ["v"])
    assert asked == [None, None]


def test_a_refusal_ends_the_run_before_it_begins(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Made, "answer", UsageError("there is no model; put one there"))
    with pytest.raises(UsageError, match="there is no model; put one there"):
        run(chain(), fast, ["v"])
    assert query(fast, "SELECT outcome FROM runs") == [("could not start",)]
    assert not executions(fast)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (ValueError("a bug\nof two lines"), PenstockError, "'made' could not start: ValueError"),
        ({"model": object()}, PipelineError, "find_ingredients\\(\\) answers what is no JSON"),
    ],
)
def test_a_bug_in_the_answer_names_the_stage(
    fast: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: object,
    kind: type[PenstockError],
    words: str,
) -> None:
    monkeypatch.setattr(Made, "answer", answer)
    with pytest.raises(kind, match=words):
        run(chain(), fast, ["v"])


class Elsewhere(Stage):
    """Writes its ingredients, from a process of its own."""

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return {"model": "x", "earlier": earlier}

    def process(self, item: Item, out: Path) -> None:
        (out / "had.json").write_text(json.dumps(self.ingredients))


def test_a_process_has_the_answer_too(tmp_path: Path) -> None:
    pipeline = Pipeline("toy", "A toy.", [Step(Elsewhere, SOURCE)])
    run(pipeline, tmp_path, ["v"], 'stages.elsewhere.placement="process"')
    had = Item.at(tmp_path, "v").output("elsewhere") / "had.json"
    assert json.loads(had.read_text()) == {"model": "x", "earlier": None}


class Yields(Toy):
    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Any:
        yield "model"


class Waits(Toy):
    async def find_ingredients(  # type: ignore[override]
        self, earlier: Mapping[str, Any] | None
    ) -> Any:
        return {}


@pytest.mark.parametrize(
    ("stage", "words"), [(Yields, "find_ingredients\\(\\) yields"), (Waits, "is async")]
)
def test_it_is_an_ordinary_method(stage: type[Stage], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        line(Step(stage, SOURCE))


def test_a_ledger_without_the_table_is_read_as_it_is_and_taken_up(fast: Path) -> None:
    run(chain(Plain), fast, ["v"])
    with closing(sqlite3.connect(fast / "penstock.db", isolation_level=None)) as db:
        db.execute("DROP TABLE ingredients")
    with LedgerReader(fast) as reader:
        assert reader.audit(chain(), frozenset()) == []
    assert ran(fast, chain()) == []
