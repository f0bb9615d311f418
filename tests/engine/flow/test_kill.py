"""kill -9 at any moment: the next run goes on, does nothing twice, and comes to the same."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.item import MARK
from tests.engine import toys
from tests.engine.toy_command import ITEMS, LISTS
from tests.engine.toys import executions, fast_folder, outcomes, query, tree


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path]]:
    with fast_folder() as killed, fast_folder() as undisturbed:
        yield killed, undisturbed


def start(workdir: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.engine.toy_command", "crash", str(workdir)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run_to_the_end(workdir: Path) -> None:
    run = start(workdir)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1, errors.decode()  # some items fail, as they have to
    assert errors == b""


def kill_after(workdir: Path, more: int, delay: float) -> bool:
    """Kill a run once it has executed `more` stages; false if it ended before."""
    run, before = start(workdir), sum(executions(workdir).values())
    while run.poll() is None:
        if sum(executions(workdir).values()) >= before + more:
            time.sleep(delay)  # not to synchronise: so that any instruction may be the last
            run.send_signal(signal.SIGKILL)
        time.sleep(0.0005)
    run.communicate()
    return run.returncode == -signal.SIGKILL


def committed(workdir: Path) -> set[tuple[str, str]]:
    """(stage, id) of the outputs that stand there, and of what the ledger says was deleted."""
    standing = {
        (path.parent.name, path.parent.parent.name)
        for path in workdir.glob(f"items/*/*/{MARK}")
        if ".scratch-" not in str(path)
    }
    deleted = query(workdir, "SELECT stage, item FROM stages WHERE discarded")
    return standing | {(stage, id_) for stage, id_ in deleted}


def check_kills(killed: Path, undisturbed: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    done: set[tuple[str, str]] = set()
    before: Counter[tuple[str, str]] = Counter()
    hits = 0
    for _ in range(kills):
        hits += kill_after(killed, chance.randint(1, 400 // kills), chance.uniform(0, 0.01))
        assert not done & set(executions(killed) - before), "what was committed was done again"
        done, before = committed(killed), executions(killed)
    assert hits >= kills / 2
    run_to_the_end(killed)
    assert not done & set(executions(killed) - before)
    run_to_the_end(undisturbed)
    assert tree(killed) == tree(undisturbed)
    assert outcomes(killed) == outcomes(undisturbed)
    assert toys.leftovers(killed) == []
    assert query(killed, "SELECT count(*) FROM items") == [(ITEMS + LISTS,)]
    assert query(killed, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    open_runs = query(killed, "SELECT count(*) FROM runs WHERE outcome IS NULL")
    assert open_runs == [(0,)]


def test_a_killed_run_is_taken_up_where_it_was(folders: tuple[Path, Path]) -> None:
    check_kills(*folders, kills=8, seed=8)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_any_number_of_kills_at_any_moment(folders: tuple[Path, Path], seed: int) -> None:
    check_kills(*folders, kills=20, seed=seed)
