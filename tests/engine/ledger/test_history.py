"""What a run leaves of how it went over time."""

import sqlite3
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from engine.ledger import history
from engine.ledger.group_commit import GroupCommit
from engine.ledger.history import History
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.statistics import PoolStatistics
from tests.engine.toys import line, query, run, toy, until

BUSY = PoolStatistics("a", 1, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0.5, 0.0, 0.0, 1.0, 0)


def samples_of(workdir: Path, number: int = 1) -> list[tuple[int, history.Sample]]:
    with LedgerReader(workdir) as reader:
        return reader.samples(number)


def test_the_last_sample_is_how_the_run_ended(tmp_path: Path) -> None:
    pipeline = line(toy("a", does={"v1": ["permanent"]}), toy("b", "a"))

    report = run(pipeline, tmp_path, ["v1", "v2", "v3"])

    _, last = samples_of(tmp_path)[-1]
    assert {pool.stage: pool.ended for pool in last.pools} == {"a": 3, "b": 2}
    assert {pool.stage: pool.failed for pool in last.pools} == {"a": 1, "b": 0}
    assert last.memory > 10**6
    assert last.free_disk > 0
    assert last.pools[0].busy <= report.pools["a"].busy


def test_a_run_that_finds_all_done_leaves_no_history(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"])

    run(pipeline, tmp_path, ["v1"])

    assert samples_of(tmp_path, 1)
    assert not samples_of(tmp_path, 2)


def test_a_ledger_of_before_is_read_and_gains_its_history(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.executescript("DROP TABLE samples; DROP TABLE pool_samples")
    assert samples_of(tmp_path) == []

    run(pipeline, tmp_path, ["v2"])

    assert samples_of(tmp_path, 2)


async def keep_for(workdir: Path, ticks: int) -> None:
    """Keep a history until so many intervals have passed in it."""
    ledger = Ledger(workdir / FILE)
    commit = GroupCommit(ledger)
    number = await commit.do(lambda ledger: ledger.start_run("toy", {}, {}))
    kept = History(commit, number, lambda: [BUSY], workdir, interval=0.0001)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kept.keep)
            sql = "SELECT coalesce(max(tick), 0) FROM samples"
            await until(lambda: query(workdir, sql)[0][0] >= ticks)
            tasks.cancel_scope.cancel()
    finally:
        commit.close()
        ledger.close()


def test_a_long_history_stays_bounded_and_even(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST", 20)

    anyio.run(keep_for, tmp_path, 300)

    ticks = [tick for tick, _ in samples_of(tmp_path)]
    assert 10 <= len(ticks) <= 21
    gaps = {later - earlier for earlier, later in pairwise(ticks)}
    assert gaps == {ticks[0]}
    assert len(query(tmp_path, "SELECT * FROM pool_samples")) == len(ticks)


def test_a_machine_that_does_not_say_how_it_stands_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(percpu: bool) -> None:
        raise PermissionError(13, "Permission denied", "/proc/stat")

    monkeypatch.setattr(history.psutil, "cpu_times", fail)
    assert run(line(toy("a")), tmp_path, ["v1"]).items["done"] == 1
    assert samples_of(tmp_path) == []
