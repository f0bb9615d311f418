"""A demo that was run to its end, for all tests that look at what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main


@dataclass
class Demo:
    """What it printed, its folder, and the root of its addresses. Not to be changed."""

    result: Result
    out: Path
    root: str


def run_demo(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


def finish_demo(folder: Path) -> Demo:
    """Run it in `folder`, where everything around it would get in its way, if it looked."""
    (folder / "config.toml").write_text("[stages.extract]\nfps = 7\n")
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        patch.setenv("PENSTOCK_STAGES_EXTRACT_FPS", "7")
        patch.setenv("COLUMNS", "80")
        patch.chdir(folder)
        result = run_demo("--out", out)
    port = json.loads((out / "demo.json").read_text())["port"]
    return Demo(result, out, f"http://127.0.0.1:{port}")
