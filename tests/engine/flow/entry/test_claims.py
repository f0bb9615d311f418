"""What another machine has by now is written to nobody, and becomes no output here."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from engine import SOURCE, Item, Job, JoinedSources, Source, Step, ensure_ours
from engine.contract import ownership
from tests.engine.toys import Toy, executions, line, note, outcomes, run_within, toy, tree

SECONDS = 30


class Machine(Source):
    """Gives a job for each source, and says of it what is said of it here, one answer after the
    other, of which the last one stays, once all jobs have entered. That is where something is about
    to be written that others read; of outputs it says `of_outputs`."""

    def __init__(self, *given: tuple[str, list[bool | None]], of_outputs: bool = True) -> None:
        self.told: list[tuple[str, str]] = []
        self.asked = 0
        self._jobs = [Job(source, handle=says) for source, says in given]
        self._of_outputs = of_outputs
        self._out = len(given)
        self._all_in = threading.Event()

    def items(self) -> Iterator[Job]:
        yield from self._jobs

    def entered(self, job: Job, item: str) -> None:
        self._out -= 1
        if not self._out:
            self._all_in.set()

    def alive(self, job: Job, *, surely: bool) -> bool | None:
        if not surely:
            return self._of_outputs
        assert self._all_in.wait(SECONDS)
        self.asked += 1
        answer: bool | None = job.handle.pop(0) if len(job.handle) > 1 else job.handle[0]
        return answer

    def ended(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome))

    def lost(self, job: Job) -> None:
        self.told.append((job.source, "lost"))


class Sends(Toy):
    """Writes what others read: a line in a file."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        ensure_ours(item)
        note(self.workdir / "sent", item.source)


class SendsFromLoop(Sends):
    async def process(self, item: Item, out: Path) -> Any:
        await to_thread.run_sync(self.act, item, out)


@pytest.fixture(autouse=True)
def _asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "ASK_AGAIN", 0.01)
    monkeypatch.setattr(ownership, "LOOK_AGAIN", 0.01)


def sent(workdir: Path) -> list[str]:
    file = workdir / "sent"
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("kind", ["thread", "loop", "process"])
def test_what_is_another_machine_s_is_not_written(kind: str, fast: Path) -> None:
    stage = SendsFromLoop if kind == "loop" else Sends
    pipeline = line(toy("a"), Step(stage, "a"), toy("c", stage.name))
    overrides = ["stages.sends.placement=process"] if kind == "process" else []
    source = Machine(("theirs", [False]), ("ours", [True]))
    report = run_within(SECONDS, pipeline, fast, source, *overrides)
    assert sent(fast) == ["ours"]
    assert sorted(source.told) == [("ours", "done"), ("theirs", "lost")]
    assert report.items["done"] == 1
    ends = {(stage, id_[:4]): end for (stage, id_), (end, _) in outcomes(fast).items()}
    assert ends[stage.name, "thei"] == "pending"
    assert not [path for path in tree(fast) if path.startswith("theirs") and stage.name in path]


def test_where_nobody_knows_it_is_asked_again_and_costs_no_attempt(fast: Path) -> None:
    source = Machine(("a", [None, None, None, None, True]))
    run_within(SECONDS, line(Step(Sends, SOURCE)), fast, source, "stages.sends.attempts=1")
    assert (sent(fast), source.told) == (["a"], [("a", "done")])
    assert sum(executions(fast).values()) == 5


def test_what_is_known_to_be_another_machine_s_becomes_no_output(fast: Path) -> None:
    source = Machine(("a", [True]), of_outputs=False)
    run_within(SECONDS, line(toy("first")), fast, source)
    assert source.told == [("a", "lost")]
    assert {end for end, _ in outcomes(fast).values()} == {"pending"}
    assert not [path for path in tree(fast) if "/first/" in path]


def test_an_item_that_another_job_waits_for_too_is_ours_by_that(fast: Path) -> None:
    source = Machine(("a", [False]), ("a", [True]))
    run_within(SECONDS, line(Step(Sends, SOURCE)), fast, JoinedSources(source))
    assert sent(fast) == ["a"]
    assert sorted(source.told) == [("a", "done"), ("a", "lost")]


@pytest.mark.parametrize("answer", [True, False])
def test_what_a_list_holds_is_ours_as_long_as_the_list_is(answer: bool, fast: Path) -> None:
    pipeline = line(toy("a", does={"list": ["expand", ["x", "y"]]}), Step(Sends, "a"))
    source = Machine(("list", [answer]))
    run_within(SECONDS, pipeline, fast, source)
    assert sorted(sent(fast)) == (["x", "y"] if answer else [])
    assert source.told == [("list", "done" if answer else "lost")]
    assert source.asked


def test_results_that_a_finish_makes_for_others_ask_too(fast: Path) -> None:
    made = []

    def finish(context: Any, record: Any) -> None:
        ensure_ours(Item(record.id, record.source, record.folder))
        made.append(record.source)

    source = Machine(("ours", [True]), ("theirs", [False]))
    run_within(SECONDS, line(toy("a"), finish_item=finish), fast, source)
    assert made == ["ours"]
    assert sorted(source.told) == [("ours", "done"), ("theirs", "lost")]


def test_a_run_whose_source_cannot_lose_a_job_asks_nobody(fast: Path) -> None:
    run_within(SECONDS, line(Step(Sends, SOURCE)), fast, ["a", "b"])
    assert sorted(sent(fast)) == ["a", "b"]
