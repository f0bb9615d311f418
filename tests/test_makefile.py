"""`make` on a machine that lacks what OpenCV's windows are linked against."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYTHON = """#!/bin/sh
# Makes "environments" that hold itself, writes down what it is asked, and fails at cv2.
echo "$@" >> "$ASKED"
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-c import cv2") echo "$CV2" >&2; [ -z "$CV2" ] ;;
esac
"""


def installs(folder: Path, cv2_says: str) -> list[str]:
    """What `make` has pip do where `import cv2` ends so."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    asked = folder / "asked"
    told = {**os.environ, "ASKED": str(asked), "CV2": cv2_says, "MAKEFLAGS": ""}
    command = ["make", "--silent", f"PYTHON={python}", ".venv/.installed"]
    subprocess.run(command, cwd=folder, env=told, check=True, capture_output=True)
    return [line for line in asked.read_text().splitlines() if line.startswith("-m pip")]


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def test_a_missing_libgl_brings_the_build_without_windows(tmp_path: Path) -> None:
    [pin] = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("opencv-python==")
    ]
    missing = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    _, uninstalled, installed = installs(tmp_path, missing)
    assert uninstalled.endswith("opencv-python")
    assert installed.endswith(pin.replace("opencv-python", "opencv-python-headless"))


@pytest.mark.parametrize("said", ["", "ModuleNotFoundError: No module named 'cv2'"])
def test_else_nothing_is_put_in_its_place(tmp_path: Path, said: str) -> None:
    assert len(installs(tmp_path, said)) == 1
