"""Ctrl-C: once to finish what is in hand, twice to stop now; and whatever the run waits for."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.contract.item import item_id
from tests.engine.toys import leftovers, outcomes, query

Start = Callable[[str], subprocess.Popen[str]]

PROMPT = 20.0
"""Seconds that stopping at once may take on a busy machine."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.engine.toy_command", name, str(tmp_path)]
        pipe = subprocess.PIPE
        run = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.kill()
        run.communicate()


def wait_for(run: subprocess.Popen[str], *words: str) -> None:
    """Read what the run prints until these words begin lines, in this order."""
    assert run.stdout is not None
    for word in words:
        while not (line := run.stdout.readline()).startswith(word):
            assert line, f"the run ended before {word}: {run.stderr and run.stderr.read()}"


def wait_until_stuck(workdir: Path, lines: int = 1) -> None:
    file = workdir / "stuck"
    while not file.exists() or len(file.read_text().splitlines()) < lines:
        time.sleep(0.005)


def end(run: subprocess.Popen[str]) -> str:
    """Wait for the run's end; returns what it said on stderr."""
    _, errors = run.communicate(timeout=30)
    return errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_once_finishes_what_is_in_hand(start: Start, tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as by nohup, and so by what is started here")
    run = start("stuck")
    wait_for(run, f"ItemEntered {item_id('v5')}")
    wait_until_stuck(tmp_path)
    run.send_signal(number)
    wait_for(run, "Stopping")
    if number == signal.SIGHUP:
        run.send_signal(number)  # its shell says so too
    (tmp_path / "release").touch()
    assert end(run) == ""
    assert run.returncode == 130
    found = outcomes(tmp_path)
    assert found["a", item_id("v0")] == ("done", None)
    pending = [key for key, (outcome, _) in found.items() if outcome == "pending"]
    assert ("b", item_id("v0")) in pending, "nothing new is begun"
    assert len(pending) > 2
    assert query(tmp_path, "SELECT outcome FROM runs") == [("interrupted",)]
    again = start("stuck")
    assert end(again) == ""
    assert again.returncode == 0
    assert len(outcomes(tmp_path)) == 18
    assert query(tmp_path, "SELECT count(*) FROM attempts WHERE stage = 'a'") == [(9,)]


@pytest.mark.alone
def test_twice_stops_at_once_though_a_stage_hangs(start: Start, tmp_path: Path) -> None:
    run = start("stuck")
    wait_until_stuck(tmp_path)
    run.send_signal(signal.SIGINT)
    wait_for(run, "Stopping")
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert end(run) == ""
    assert time.monotonic() - began < PROMPT
    assert run.returncode == 130
    assert outcomes(tmp_path)["a", item_id("v0")] == ("pending", None)
    (tmp_path / "release").touch()
    again = start("stuck")
    end(again)
    assert again.returncode == 0
    assert leftovers(tmp_path) == []


def test_a_source_that_waits_holds_up_neither_items_nor_the_end(
    start: Start, tmp_path: Path
) -> None:
    run = start("pipe")
    assert run.stdin is not None
    run.stdin.write("v1\n")
    run.stdin.flush()
    wait_for(run, f"ItemEnded {item_id('v1')}")
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    wait_for(run, "RunEnded")
    assert run.wait(timeout=30) == 130, run.stderr and run.stderr.read()
    assert time.monotonic() - began < PROMPT
    assert run.stderr is not None
    assert run.stderr.read() == ""


def test_a_source_that_ends_ends_the_run(start: Start, tmp_path: Path) -> None:
    run = start("pipe")
    run.communicate("v1\nv2\nv1\n", timeout=30)
    assert run.returncode == 0
    assert query(tmp_path, "SELECT count(*) FROM items") == [(2,)]


def test_a_finish_is_left_and_made_by_the_next_run(start: Start, tmp_path: Path) -> None:
    run = start("finish")
    wait_until_stuck(tmp_path)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert end(run) == ""
    assert time.monotonic() - began < PROMPT
    assert run.returncode == 130
    assert query(tmp_path, "SELECT outcome FROM runs") == [("interrupted",)]
    (tmp_path / "release").touch()
    again = start("finish")
    end(again)
    assert again.returncode == 0
