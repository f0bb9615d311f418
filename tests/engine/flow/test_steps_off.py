"""A last step that is off under these settings is no part of the run."""

from pathlib import Path

import pytest

from engine import Pipeline, Settings, StepOpened, UsageError, setting
from engine.bench.model.reading import read_recording
from engine.contract.item import item_id
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.events import Event
from tests.engine.toys import Does, Toy, executions, line, outcomes, query, run, toy, tree

ID = item_id("v")
OUT = f"{ID}/out/value.json"
ON, OFF = "stages.out.place=here", "stages.out.value=0"


class Putting(Toy):
    """Off without a place; what is off is not even opened."""

    class Settings(Settings):
        value: int = setting(0, "A number that stands in the output.")
        place: str | None = setting(None, "Where it puts what it makes.")

    settings: "Putting.Settings"  # type: ignore[assignment]

    @classmethod
    def is_off(cls, settings: "Putting.Settings") -> bool:
        return settings.place is None

    def open(self) -> None:
        if self.settings.place is None:
            raise UsageError("there is no place")


def pipeline(does: Does | None = None, before: Does | None = None) -> Pipeline:
    return line(toy("made", does=before), toy("out", "made", base=Putting, does=does))


def opened(events: list[Event]) -> list[str]:
    return [event.stage for event in events if isinstance(event, StepOpened)]


def test_it_has_no_pool_no_attempt_and_no_row(fast: Path) -> None:
    heard: list[Event] = []
    report = run(pipeline(), fast, ["v"], listen=heard.append)
    assert (report.items["done"], report.exit_code) == (1, 0)
    assert opened(heard) == ["made"]
    assert [one.stage for one in report.counts] == [*report.pools] == ["made"]
    assert outcomes(fast) == {("made", ID): ("done", None)}
    assert query(fast, "SELECT DISTINCT stage FROM attempts") == [("made",)]


def test_it_comes_and_goes_and_nothing_else_is_redone(fast: Path) -> None:
    run(pipeline(), fast, ["v"])
    report = run(pipeline(), fast, ["v"], ON)
    assert [one.stage for one in report.counts] == ["made", "out"]
    assert executions(fast) == {("made", ID): 1, ("out", ID): 1}
    assert run(pipeline(), fast, ["v"], ON).items["reused"] == 1

    heard: list[Event] = []
    assert run(pipeline(), fast, ["v"], OFF, listen=heard.append).items["reused"] == 1
    assert opened(heard) == [], "turning it off is no work"
    assert outcomes(fast) == {("made", ID): ("done", None)}
    assert OUT not in tree(fast), "nobody takes what an earlier run put there for this one's"

    run(pipeline(), fast, ["v"], ON)
    assert OUT in tree(fast)
    assert executions(fast) == {("made", ID): 1, ("out", ID): 2}


def test_what_is_redone_meanwhile_is_put_there_anew(fast: Path) -> None:
    run(pipeline(), fast, ["v"], ON)
    run(pipeline(), fast, ["v"], "stages.made.value=7")
    run(pipeline(), fast, ["v"], ON, "stages.made.value=7")
    assert b'"value": 7' in tree(fast)[OUT]
    assert executions(fast) == {("made", ID): 2, ("out", ID): 2}


def test_an_item_that_failed_there_is_done_without_it(fast: Path) -> None:
    failing = pipeline(does={"v": ["permanent"]})
    assert run(failing, fast, ["v"], ON).items["failed"] == 1
    report = run(failing, fast, ["v"], OFF)
    assert (report.items["done"], report.failures, report.exit_code) == (1, [], 0)
    assert run(failing, fast, ["v"], ON).items["failed"] == 1


def test_an_item_that_was_pending_there_is_done_without_it(fast: Path) -> None:
    run(pipeline(does={"v": ["permanent"]}), fast, ["v"], ON)
    ledger = Ledger(fast / FILE)
    ledger.begin()
    assert len(ledger.retrying.reset({"made": ["out"], "out": []})) == 1
    ledger.commit()
    ledger.close()
    assert run(pipeline(), fast, ["v"], OFF).items["done"] == 1
    assert outcomes(fast) == {("made", ID): ("done", None)}


@pytest.mark.parametrize("word", ["drop", "permanent"])
def test_an_item_that_ends_before_it_leaves_nothing_there(fast: Path, word: str) -> None:
    run(pipeline(), fast, ["v"], ON)
    ended = {"drop": "dropped", "permanent": "failed"}[word]
    for how in (ended, "reused"):
        again = pipeline(before={"v": [word]})
        assert run(again, fast, ["v"], OFF, "stages.made.value=7").items[how] == 1
        assert outcomes(fast) == {("made", ID): (ended, word)}
    assert OUT not in tree(fast)


def test_of_an_item_that_another_branch_ended_it_goes_too(fast: Path) -> None:
    forked = line(*pipeline().steps, toy("other", "made", does={"v": ["permanent"]}))
    run(forked, fast, ["v"], ON)
    assert outcomes(fast)["out", ID] == ("done", None)
    report = run(forked, fast, ["v"], OFF)
    assert (report.items["failed"], report.items["reused"]) == (1, 1)
    assert outcomes(fast) == {("made", ID): ("done", None), ("other", ID): ("failed", "permanent")}
    assert OUT not in tree(fast)


@pytest.mark.parametrize("after", ["follows", "only"])
def test_a_step_that_others_need_stays(fast: Path, after: str) -> None:
    steps = {
        "follows": [toy("a"), toy("out", "a", base=Putting), toy("b", "out")],
        "only": [toy("out", base=Putting)],
    }[after]
    with pytest.raises(UsageError, match="there is no place"):
        run(line(*steps), fast, ["v"])


def test_a_plan_learns_nothing_of_it(fast: Path) -> None:
    run(pipeline(), fast, ["v", "w"], ON)
    assert read_recording(fast, pipeline()).stages == ("made", "out")
    run(pipeline(), fast, ["v", "w", "x"], OFF)
    recording = read_recording(fast, pipeline())
    assert recording.stages == ("made",)
    assert [[*item.visits] for item in recording.items] == [["made"]] * 3
