"""The toy pipelines as an installed package has them, here and in the processes of trials."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`penstock bench toybench` is there, and the current folder is empty."""
    about = tmp_path / "installed" / "toybench-1.dist-info"
    about.mkdir(parents=True)
    entry = "[penstock.pipelines]\ntoybench = tests.engine.bench.toy_pipelines:bench\n"
    (about / "entry_points.txt").write_text(entry)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toybench\nVersion: 1\n")
    monkeypatch.syspath_prepend(about.parent)
    monkeypatch.setenv("PYTHONPATH", f"{about.parent}:{ROOT}")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
