"""The command where its script is not on the PATH."""

import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

installed = pytest.mark.skipif(
    find_spec("penstock") is None, reason="installed before there was such a module: install again"
)


@pytest.mark.parametrize("module", [pytest.param("penstock", marks=installed), "engine"])
def test_the_command_is_a_module(tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"penstock, version {version('penstock')}\n"
