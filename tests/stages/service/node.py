"""Node.js, and the packages of npm that sites use, for tests that skip where they are missing."""

import shutil
from pathlib import Path

import pytest

NODE_MODULES = Path(__file__).parents[3] / ".venv" / "bullmq" / "node_modules"


def node() -> str:
    """The program."""
    found = shutil.which("node")
    if found is None or not (NODE_MODULES / "bullmq").is_dir():
        pytest.skip("needs Node.js and npm's bullmq: make bullmq")
    return found
