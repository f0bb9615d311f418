"""Runs in processes of their own, killed at random moments until one ends."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from engine.contract.item import MARK
from tests.engine import toys
from tests.engine.toys import executions, outcomes, query, tree

Check = Callable[[Path, Counter[tuple[str, str]]], None]
"""Given the work folder and what the runs before the last one executed."""


def start(name: str, workdir: Path) -> subprocess.Popen[bytes]:
    """A run of this pipeline of `toy_command`."""
    command = [sys.executable, "-m", "tests.engine.toy_command", name, str(workdir)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run_to_the_end(name: str, workdir: Path) -> None:
    run = start(name, workdir)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1, errors.decode()  # some items fail, as they have to
    assert errors == b""


def kill_after(name: str, workdir: Path, more: int, delay: float) -> bool:
    """Kill a run once it has executed `more` stages; false if it ended before."""
    run, before = start(name, workdir), executed(workdir)
    while run.poll() is None:
        if executed(workdir) >= before + more:
            time.sleep(delay)  # not to synchronise: so that any instruction may be the last
            run.send_signal(signal.SIGKILL)
        time.sleep(0.0005)
    _, errors = run.communicate()
    assert errors == b"", errors.decode()
    return run.returncode == -signal.SIGKILL


def executed(workdir: Path) -> int:
    """Number of executions of stages so far."""
    file = workdir / "executions"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def standing(workdir: Path) -> set[tuple[str, str]]:
    """(stage, id) of the outputs that stand there."""
    return {
        (path.parent.name, path.parent.parent.relative_to(workdir / "items").as_posix())
        for path in workdir.glob(f"items/**/{MARK}")
        if ".scratch-" not in str(path)
    }


def check_kills(
    name: str,
    killed: Path,
    undisturbed: Path,
    *,
    kills: int,
    all_in_all: int,
    seed: int,
    finished: Callable[[Path], set[tuple[str, str]]],
) -> int:
    """Kill runs of a pipeline that executes stages about so many times, `all_in_all`; then let one
    end. Nothing that had `finished` is done again, and all comes to the same as undisturbed.
    Returns the number of runs that were killed."""
    chance = random.Random(seed)
    done: set[tuple[str, str]] = set()
    before: Counter[tuple[str, str]] = Counter()
    hits = 0
    for _ in range(kills):
        more = chance.randint(1, max(1, all_in_all // kills))
        hits += kill_after(name, killed, more, chance.uniform(0, 0.01))
        again = done & set(executions(killed) - before)
        assert not again, f"what had finished was done again: {again}"
        done, before = finished(killed), executions(killed)
    assert hits >= kills / 2
    run_to_the_end(name, killed)
    assert not done & set(executions(killed) - before)
    run_to_the_end(name, undisturbed)
    assert tree(killed) == tree(undisturbed)
    assert outcomes(killed) == outcomes(undisturbed)
    assert toys.leftovers(killed) == []
    assert query(killed, "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    open_runs = query(killed, "SELECT count(*) FROM runs WHERE outcome IS NULL")
    assert open_runs == [(0,)]
    return hits
