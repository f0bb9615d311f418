"""A trial is a real run in a process and a folder of its own, watched from outside."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from engine.bench.configuration import Configuration
from engine.bench.high_water import occupied, resident
from engine.bench.trial import Setup, Trial, cold_folder, run_trial
from engine.contract.errors import UsageError

pytestmark = [pytest.mark.usefixtures("toys"), pytest.mark.alone]


def trial(
    *overrides: str, work: int = 1, sources: Sequence[str] = tuple("abcdef"), parent: Path
) -> Trial:
    setup = Setup("toybench", None, overrides, {})
    with cold_folder(parent) as workdir:
        return run_trial(setup, Configuration.of(work=work), sources, workdir)


def test_a_trial_measures_what_its_run_did(tmp_path: Path) -> None:
    found = trial(sources=[*"abcdef", "gone", "empty"], parent=tmp_path)
    assert found.problem is None
    assert found.outcomes == {"done": 6, "dropped": 1, "failed": 1}
    assert (found.items, found.ended, found.failed) == (8, 8, 1)
    assert found.seconds >= 6 * 0.04
    assert found.throughput == pytest.approx(7 / found.seconds)
    assert found.pace == pytest.approx(8 / found.seconds)
    assert found.stages is not None
    assert found.stages["work"].workers == 1
    for shares in found.stages.values():
        assert 0 <= shares.busy + shares.starved + shares.blocked <= 1.01
    assert found.bottleneck == "work"
    assert found.sentence is not None
    assert "work" in found.sentence
    assert list(tmp_path.glob(".trial-*")) == []


def test_more_workers_are_faster(tmp_path: Path) -> None:
    many = [f"item {number}" for number in range(24)]
    slow = trial("stages.work.seconds=0.15", work=1, sources=many, parent=tmp_path)
    fast = trial("stages.work.seconds=0.15", work=6, sources=many, parent=tmp_path)
    assert fast.stages is not None
    assert fast.stages["work"].workers == 6
    assert fast.throughput > 1.5 * slow.throughput


def test_disk_and_memory_are_the_highest_there_were(tmp_path: Path) -> None:
    held = trial(
        "stages.fetch.size=3000000",
        "stages.work.memory=200000000",
        "stages.fetch.keep=false",
        sources=[f"item {number}" for number in range(20)],
        parent=tmp_path,
    )
    assert held.peak_memory is not None
    assert held.peak_disk is not None
    assert held.peak_memory > 200_000_000
    # 20 items of 3 MB were written, and no more than the queue held were there at once.
    assert 3_000_000 < held.peak_disk < 45_000_000


def test_a_mistake_is_told_as_the_run_tells_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such model; give another"):
        trial("stages.work.refuse=true", parent=tmp_path)


def test_a_killed_run_is_the_trials_problem(tmp_path: Path) -> None:
    found = trial("stages.work.kill=2", work=2, parent=tmp_path)
    assert found.problem == "its process was killed by SIGKILL; the machine may be out of memory"


def test_a_run_that_stops_itself_is_the_trials_problem(tmp_path: Path) -> None:
    found = trial("limits.free_disk=900 TB", parent=tmp_path)
    assert found.problem is not None
    assert found.problem.startswith("the run stopped itself: ")


def test_whoever_leaves_a_trial_leaves_nothing_of_it(tmp_path: Path) -> None:
    """The watching thread is where the exception comes from, as Ctrl-C comes in the main one."""
    started: list[int] = []

    class Left(Exception):
        pass

    def leave(pid: int) -> int:
        hanging = tmp_path / "hanging"
        if hanging.exists() and hanging.read_text():
            started.append(int(hanging.read_text()))
            raise Left
        return 0

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.bench.high_water.resident", leave)
        with pytest.raises(Left):
            trial("stages.work.hang=true", parent=tmp_path)
    assert not psutil.pid_exists(started[0])
    assert list(tmp_path.glob(".trial-*")) == []


def test_occupied_counts_what_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    empty = occupied(tmp_path)
    (tmp_path / "a" / "b" / "file").write_bytes(os.urandom(100_000))
    one = occupied(tmp_path)
    assert 100_000 <= one - empty <= 110_000
    os.link(tmp_path / "a" / "b" / "file", tmp_path / "again")
    (tmp_path / "away").symlink_to("/usr")
    assert occupied(tmp_path) - one < 10_000
    assert occupied(tmp_path / "missing") == 0


def test_resident_is_nothing_where_there_is_no_process() -> None:
    assert resident(2**22 + 1) == 0
    assert resident(os.getpid()) > 1_000_000
