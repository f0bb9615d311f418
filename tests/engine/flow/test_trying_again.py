"""Jobs that are given again, to have what failed tried once more: in the same run, and in a later
one."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Job, Source
from engine.contract.item import item_id
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, line, outcomes, query, run_within, toy

SECONDS = 60


class Insists(Source):
    """Gives its jobs again for as long as they fail, up to `most` times each."""

    def __init__(self, *given: str, most: int, again: bool = True) -> None:
        self.told: list[tuple[str, str]] = []
        self._coming: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._left = dict.fromkeys(given, most)
        self._again = again
        for source in given:
            self._coming.put(Job(source))

    def items(self) -> Iterator[Job]:
        return iter(self._coming.get, None)

    def ended(self, job: Job, outcome: str) -> None:
        self.told.append((job.source, outcome))
        self._left[job.source] = 0 if outcome != "failed" else self._left[job.source] - 1
        if self._left[job.source] > 0:
            self._coming.put(Job(job.source, again=self._again))
        elif not any(self._left.values()):
            self._coming.put(None)


def go(pipeline: Any, workdir: Path, source: Any) -> Any:
    return run_within(SECONDS, pipeline, workdir, source, "stages.b.attempts=1")


def test_what_failed_is_tried_again_in_the_same_run(fast: Path) -> None:
    does = {"v": ["transient", 2], "never": ["permanent"]}
    pipeline = line(toy("a"), toy("b", "a", does=does), toy("c", "b"))
    source = Insists("v", "never", "w", most=4)
    report = go(pipeline, fast, source)
    assert [outcome for name, outcome in source.told if name == "v"] == ["failed", "failed", "done"]
    assert [outcome for name, outcome in source.told if name == "never"] == ["failed"] * 4
    counted = executions(fast)
    assert (counted["a", item_id("v")], counted["b", item_id("v")]) == (1, 3)
    assert report.total.done == 2 and report.total.failed == 1
    assert outcomes(fast)["c", item_id("v")] == ("done", None)


def test_otherwise_it_is_told_at_once(fast: Path) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={"v": ["transient", 1]}))
    source = Insists("v", most=3, again=False)
    go(pipeline, fast, source)
    assert source.told == [("v", "failed")] * 3
    assert executions(fast)["b", item_id("v")] == 1


def test_a_later_run_tries_again_too(fast: Path) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={"v": ["transient", 1]}))
    assert go(pipeline, fast, ["v"]).items["failed"] == 1
    assert go(pipeline, fast, ["v"]).items["failed"] == 1
    assert go(pipeline, fast, [Job("v", again=True)]).items["done"] == 1
    assert executions(fast) == {("a", item_id("v")): 1, ("b", item_id("v")): 2}


def test_parts_that_failed_are_tried_again(fast: Path) -> None:
    """The others of the item stand."""
    pipeline = line(
        cut("a", cuts={"v": 4}), at("a", "b", does={"v/2": ["transient", 1]}), gather("c", "b")
    )
    source = Insists("v", most=3)
    go(pipeline, fast, source)
    assert source.told == [("v", "failed"), ("v", "done")]
    assert query(fast, "SELECT count(*) FROM attempts WHERE stage = 'b' AND outcome = 'done'") == [
        (4,)
    ]


class Ticket(Toy):
    """Its outputs have expired as long as a file says so."""

    def has_expired(self, output: Path) -> bool:
        return (self.workdir / "expired").exists()


class AsksAgain(Source):
    """Gives one job three times, each once the one before has ended; before the second time what
    it led to expires, and before the third no more."""

    def __init__(self, workdir: Path, again: bool) -> None:
        self._file, self._again = workdir / "expired", again
        self._coming: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._coming.put(Job("v"))
        self.told: list[str] = []

    def items(self) -> Iterator[Job]:
        return iter(self._coming.get, None)

    def ended(self, job: Job, outcome: str) -> None:
        self.told.append(outcome)
        self._file.unlink(missing_ok=True)
        if len(self.told) == 1:
            self._file.touch()
        self._coming.put(Job("v", again=self._again) if len(self.told) < 3 else None)


@pytest.mark.parametrize(("again", "made"), [(True, 2), (False, 1)])
def test_what_has_expired_is_made_anew_for_a_job_that_asks_again(
    fast: Path, again: bool, made: int
) -> None:
    pipeline = line(toy("a"), toy("b", "a", base=Ticket), toy("c", "a"), toy("d", "b", "c"))
    source = AsksAgain(fast, again)
    report = go(pipeline, fast, source)
    assert source.told == ["done"] * 3
    assert not report.discrepancies
    id_ = item_id("v")
    assert executions(fast) == {("a", id_): 1, ("b", id_): made, ("c", id_): 1, ("d", id_): 1}

    (fast / "expired").touch()
    assert go(pipeline, fast, ["v"]).items["reused"] == 1, "a list asks for nothing anew"
    go(pipeline, fast, [Job("v", again=again)])
    assert executions(fast)["b", id_] == (made + 1 if again else 1)
