"""What stages and their libraries print, beside a log on standard output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import os
from engine import SOURCE, Pipeline, Stage, Step

class Talk(Stage):
    '''Prints, and calls a library that does so past Python.'''

    def process(self, item, out):
        print("from Python")
        os.write(1, b"from C\\n")

talk = Pipeline("talk", "Prints.", [Step(Talk, SOURCE)])
"""


def run(folder: Path, log: str) -> "subprocess.CompletedProcess[str]":
    """One item through a pipeline whose stage prints."""
    about = folder / "talking-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: talking\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[penstock.pipelines]\ntalk = talking:talk\n")
    (folder / "talking.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "engine", "talk", "v1", "--out", "work", "--quiet"]
    ran = subprocess.run(
        [*command, "--set=limits.free_disk=0", "--log-json", log],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no file is standard output here")
def test_a_log_on_standard_output_holds_events_alone(tmp_path: Path) -> None:
    ran = run(tmp_path, "/dev/stdout")
    told = [json.loads(line)["event"] for line in ran.stdout.splitlines()]
    assert (told[0], told[-1]) == ("RunStarted", "RunEnded")
    assert "from C\n" in ran.stderr
    assert "from Python\n" in ran.stderr


def test_beside_a_log_in_a_file_it_is_printed_as_ever(tmp_path: Path) -> None:
    ran = run(tmp_path, "log.jsonl")
    assert sorted(ran.stdout.splitlines()) == ["from C", "from Python"]
    assert ran.stderr == ""
