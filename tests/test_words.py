"""The engine runs any pipeline: no word of what one is for stands in it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import engine
from engine import SOURCE, Pipeline, Stage, Step
from engine.cli.bench_command import bench_command
from engine.cli.main import main
from engine.cli.run_command import run_command
from engine.contract import registry

WORDS = re.compile(r"video|youtube|yt-dlp|playlist|crawl", re.IGNORECASE)

ENGINE = Path(engine.__file__).parent


def test_no_file_of_the_engine_speaks_of_one_pipeline() -> None:
    files = [path for path in ENGINE.rglob("*") if path.suffix in {".py", ".html", ".js", ".css"}]
    assert len(files) > 50
    spoken = [
        f"{path.relative_to(ENGINE)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if WORDS.search(line)
    ]
    assert spoken == []


class Read(Stage):
    """Read it."""


def test_a_pipeline_gives_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Pipeline("reading", "Read.", [Step(Read, SOURCE)], unit="page", takes="book")
    told = CliRunner().invoke(run_command(reading), ["--quiet"])
    assert str(told.exception) == "nothing to reading: give books, or --from FILE"
    usage = CliRunner().invoke(bench_command(reading), ["--help"]).output
    assert "[BOOK]..." in usage
    assert "--items, --pages" in usage

    here = registry.Found({"reading": reading}, ())
    monkeypatch.setattr(registry, "find_pipelines", lambda: here)
    for word in ("--items", "--pages"):
        asked = CliRunner().invoke(main, ["plan", "missing", word, "0", "--within", "1h"])
        assert "--items 0: give at least 1" in asked.output
    refused = CliRunner().invoke(main, ["plan", "missing", "--songs", "3", "--within", "1h"])
    assert "No such option" in refused.output


def test_a_pipeline_that_does_not_load_leaves_plan_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "bad_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[penstock.pipelines]\nhollow = no_such_module:x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = CliRunner().invoke(main, ["plan", "missing", "--videos", "0", "--within", "1h"])
    assert "--items 0: give at least 1" in asked.output
