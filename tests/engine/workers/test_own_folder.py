"""The folders that processes have for their temporary files do not pile up, however they end."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.cluster.own_folder import OLD, OwnFolder

ROOT = Path(__file__).parents[3]

RUN = """
import sys
from pathlib import Path
from engine import SOURCE, Step
from tests.engine.toys import Obedient, line, run

work, source, wait = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "wait"

def sources():
    yield source
    if wait:
        print("waits", flush=True)
        sys.stdin.read()

run(line(Step(Obedient, SOURCE)), work, sources(), "stages.obedient.placement=process")
"""


def folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.name.startswith("penstock-")]


def started(tmp_path: Path, source: str, wait: str) -> "subprocess.Popen[str]":
    place = tmp_path / "tmp"
    place.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "work"), source, wait],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("source", ["done", "kill SIGKILL", "bug"])
def test_a_run_that_ends_leaves_none(tmp_path: Path, source: str) -> None:
    process = started(tmp_path, source, "no")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not folders(tmp_path / "tmp")


@pytest.mark.parametrize("source", ["done", "hang"])
def test_a_killed_run_leaves_none(tmp_path: Path, source: str) -> None:
    """While the process has nothing to do, and while it is at work."""
    with started(tmp_path, source, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        work = tmp_path / "work"
        reached = "items/*/obedient/hello" if source == "done" else "hanging"
        while not list(work.glob(reached)):
            time.sleep(0.005)
        assert folders(tmp_path / "tmp")
        process.kill()
        process.wait()
    while folders(tmp_path / "tmp"):
        time.sleep(0.005)


def test_what_all_who_knew_of_it_have_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long_ago = time.time() - 2 * OLD
    held, left, new = OwnFolder(), OwnFolder(), OwnFolder()
    for folder in (held, left, new):
        (Path(folder.path) / "big").touch()
    for folder in (left, new):
        shutil.copytree(folder.path, f"{folder.path}-left")  # as a killed process leaves it
        folder.remove()
    for path in (held.path, f"{left.path}-left"):
        os.utime(path, (long_ago, long_ago))
    OwnFolder().remove()
    assert {str(path) for path in folders(tmp_path)} == {held.path, f"{new.path}-left"}
    held.remove()
