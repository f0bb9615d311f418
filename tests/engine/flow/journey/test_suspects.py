"""An item that kills the run: the others are done, and it fails, after few runs."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Job, JobOutcome, Source, run_pipeline
from engine.contract.errors import StopRun
from engine.contract.item import Item, item_id
from engine.ledger.outputs.folders import mark_outlived, open_scratch
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from tests.engine import toys
from tests.engine.killer_command import EXITS, ITEMS, KILLS
from tests.engine.toys import configured, leftovers, line, outcomes, query, run, toy


def runs_until_one_ends(kind: str, workdir: Path, attempts: int, most: int = 20) -> int:
    command = [sys.executable, "-m", "tests.engine.killer_command", kind, str(workdir)]
    for number in range(1, most + 1):
        ran = subprocess.run([*command, str(attempts)], capture_output=True, timeout=60)
        if ran.returncode not in (9, -signal.SIGKILL):
            assert ran.returncode == 1, ran.stderr.decode()
            return number
    pytest.fail(f"still killed after {most} runs")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "attempts", "runs"),
    [
        ("process", 2, 1),  # costs one attempt each, and no run
        ("module", 2, 4),  # three are met; then each is tried in a process
        ("nowhere", 1, 6),  # and each of the two then kills a run alone
        ("loop", 2, 8),
    ],
)
def test_who_kills_the_run_fails_and_all_others_are_done(
    tmp_path: Path, kind: str, attempts: int, runs: int
) -> None:
    assert runs_until_one_ends(kind, tmp_path, attempts) <= runs
    found = outcomes(tmp_path)
    for source in ITEMS:
        ended = ("failed", "crashed") if source in (EXITS, KILLS) else ("done", None)
        assert found["deadly", item_id(source)] == ended
        if ended == ("done", None):
            assert found["last", item_id(source)] == ("done", None)
    assert leftovers(tmp_path) == []
    assert query(tmp_path, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    alone = query(tmp_path, "SELECT count(*) FROM attempts WHERE alone")[0][0]
    assert (alone > 0) == (kind != "process")


@pytest.mark.slow
def test_they_are_tried_after_all_others_and_with_nothing_else_in_hand(tmp_path: Path) -> None:
    runs_until_one_ends("nowhere", tmp_path, 2)
    ids = {item_id(source) for source in (EXITS, KILLS)}
    died = "SELECT item, count(*) FROM attempts WHERE alone AND killed GROUP BY item"
    assert set(query(tmp_path, died)) == {(id_, 2) for id_ in ids}
    in_hand = [line.split() for line in (tmp_path / "in hand").read_text().splitlines()]
    assert [number for _, id_, number in in_hand if id_ in ids][-4:] == ["1"] * 4
    ended = query(tmp_path, "SELECT item FROM attempts WHERE stage = 'deadly' ORDER BY id")
    assert {id_ for (id_,) in ended[-2:]} == ids


@pytest.mark.slow
def test_one_that_was_retried_starts_afresh(tmp_path: Path) -> None:
    runs_until_one_ends("module", tmp_path, 1)
    ledger = Ledger(tmp_path / FILE)
    assert len(ledger.retrying.reset({"deadly": ["last"]}, "crashed")) == 2
    assert [stage for _, stage in ledger.killed.suspects() if stage == "deadly"] == []
    ledger.close()
    assert runs_until_one_ends("module", tmp_path, 1) > 1
    assert outcomes(tmp_path)["deadly", item_id(EXITS)] == ("failed", "crashed")


# What is no evidence


class Stopping(toys.Toy):
    """Has the run stop."""

    def act(self, item: Item, out: Path) -> None:
        raise StopRun("enough")


def die(workdir: Path, source: str, *, of_it: bool, killed: bool = True) -> None:
    """Leave what a run leaves that ends with the item in hand; `of_it`: with its worker, if that
    is a process; not `killed`: a person interrupted it."""
    item = Item.at(workdir, source)
    open_scratch(item, "a")
    if not of_it:
        mark_outlived(item, "a")
    ledger = Ledger(workdir / FILE)
    number = ledger.start_run("toy", {}, {})
    if not killed:
        ledger.end_run(number, "interrupted")
    ledger.close()


def suspects(workdir: Path) -> dict[tuple[str, str], int]:
    ledger = Ledger(workdir / FILE)
    found = ledger.killed.suspects()
    ledger.close()
    return found


def tried_alone(workdir: Path) -> list[tuple[str, str]]:
    """Items, with the outcomes of attempts that were alone."""
    return query(workdir, "SELECT item, outcome FROM attempts WHERE alone ORDER BY id")


def test_what_was_in_hand_is_tried_alone_once_and_then_cleared(tmp_path: Path) -> None:
    die(tmp_path, "v1", of_it=True)
    run(line(toy("a"), toy("b", "a")), tmp_path, ["v0", "v1", "v2"])
    assert tried_alone(tmp_path) == [(item_id("v1"), "done")]
    assert suspects(tmp_path) == {}
    order = query(tmp_path, "SELECT item FROM attempts WHERE stage = 'a' AND worker ORDER BY id")
    assert order[-1] == (item_id("v1"),)


@pytest.mark.parametrize(("of_it", "killed"), [(False, True), (True, False)])
def test_a_worker_that_outlived_the_run_and_an_interruption_are_no_evidence(
    tmp_path: Path, of_it: bool, killed: bool
) -> None:
    die(tmp_path, "v1", of_it=of_it, killed=killed)
    run(line(toy("a")), tmp_path, ["v0", "v1"])
    assert tried_alone(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_suspicion_outlasts_a_run_that_does_not_come_to_it(tmp_path: Path) -> None:
    die(tmp_path, "v1", of_it=True)
    run(line(toy("a", base=Stopping)), tmp_path, ["v1", "v0"])
    assert tried_alone(tmp_path) == []
    assert list(suspects(tmp_path)) == [(item_id("v1"), "a")]
    run(line(toy("a")), tmp_path, ["v1", "v0"])
    assert tried_alone(tmp_path) == [(item_id("v1"), "done")]


def test_a_resident_run_does_not_wait_for_the_end_of_its_source(tmp_path: Path) -> None:
    die(tmp_path, "v1", of_it=True)
    told = threading.Event()

    class Endless(Source):
        def items(self) -> Iterator[Job]:
            yield Job("v1")
            assert told.wait(60), "the item is never tried"

        def ended(self, job: Job, outcome: JobOutcome) -> None:
            told.set()

    pipeline = line(toy("a"))
    run_pipeline(pipeline, configured(pipeline), tmp_path, Endless(), resident=True)
    assert tried_alone(tmp_path) == [(item_id("v1"), "done")]


@pytest.mark.slow
def test_several_are_tried_one_at_a_time(tmp_path: Path) -> None:
    most = 0
    at_work: set[str] = set()

    class Counted(toys.Toy):
        def act(self, item: Item, out: Path) -> None:
            nonlocal most
            at_work.add(item.id)
            most = max(most, len(at_work))
            super().act(item, out)
            at_work.discard(item.id)

    for number in range(5):
        open_scratch(Item.at(tmp_path, f"v{number}"), "a")
    die(tmp_path, "v5", of_it=True)
    steps = [toy("a", base=Counted), toy("b", "a", base=Counted), toy("c", "a", base=Counted)]
    run(line(*steps), tmp_path, [f"v{n}" for n in range(6)], "stages.a.workers=4")
    assert most == 1
    assert len(tried_alone(tmp_path)) == 6


def test_a_list_is_not_alone_once_its_items_are_in_hand(tmp_path: Path) -> None:
    die(tmp_path, "list", of_it=True)
    seen: list[list[tuple[str, str]]] = []

    class Looking(toys.Toy):
        def act(self, item: Item, out: Path) -> object:
            seen.append(tried_alone(tmp_path))
            return super().act(item, out)

    run(line(toy("a", base=Looking, does={"list": ["expand", ["v1", "v2"]]})), tmp_path, ["list"])
    assert [len(alone) for alone in seen] == [1, 0, 0]
