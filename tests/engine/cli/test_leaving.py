"""How the command leaves: with its exit code, whatever a thread that was left to itself is at."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PLUGIN = """
import atexit, os, time
from engine import SOURCE, Pipeline, Stage, Step

class Load(Stage):
    '''Loads for ever, in a library that aborts when it is taken down in the middle of it.'''

    def open(self):
        atexit.register(os.abort)
        print("loading", flush=True)
        while True:
            time.sleep(0.01)

    def process(self, item, out):
        pass

class Quick(Load):
    '''The same, but it is soon done.'''

    def open(self):
        atexit.register(print, "torn down")

slow = Pipeline("slow", "Loads.", [Step(Load, SOURCE)])
quick = Pipeline("quick", "Loads.", [Step(Quick, SOURCE)])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which those pipelines are installed."""
    about = tmp_path / "installed" / "leaving-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: leaving\nVersion: 1\n")
    entries = "[penstock.pipelines]\nslow = leaving:slow\nquick = leaving:quick\n"
    (about / "entry_points.txt").write_text(entries)
    (about.parent / "leaving.py").write_text(textwrap.dedent(PLUGIN))
    path = os.pathsep.join([str(about.parent), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path}


def test_a_model_that_still_loads_does_not_change_the_exit_code(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "slow", "v1", "--out", "work", "--set=limits.free_disk=0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        while "stopping: SIGINT" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 130
    assert "interrupted twice" in said, "what the run came to is said all the same"


def test_where_nothing_is_left_the_process_ends_as_any_other(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "engine", "quick", "v1", "--out", "work"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("torn down\n")
