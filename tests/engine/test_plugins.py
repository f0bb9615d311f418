"""What other packages bring, found by entry points: loaded when used, and never in the way."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import PipelineError, Step, UsageError, plugins
from engine.cli import main


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python looks for packages in, with one that registers what is not there."""
    info = tmp_path / "bad_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[penstock.commands]\nbroken = no_such_module:command\n"
        "[penstock.pipelines]\nhollow = json:dumps\n"
        "[penstock.stages]\nodd = collections:Counter\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("package")
def test_a_plugin_that_does_not_load_leaves_the_others_and_the_help_alone() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert "broken" in shown.output
    assert "Cannot be used" in shown.output
    assert "status" in shown.output

    used = CliRunner().invoke(main, ["broken", "--anything", "at all"])
    assert used.exit_code == 2
    assert "no_such_module" in used.output
    assert "Traceback" not in used.output


@pytest.mark.usefixtures("package")
def test_what_is_no_pipeline_is_refused_by_name() -> None:
    with pytest.raises(PipelineError, match="'hollow'"):
        plugins.pipeline("hollow")
    assert CliRunner().invoke(main, ["hollow"]).exit_code == 2


@pytest.mark.usefixtures("package")
def test_stages_are_found_by_name() -> None:
    from stages.extract import Extract

    assert Step.named("extract", after="download").stage is Extract
    with pytest.raises(PipelineError, match=r"'extrct'.*extract"):
        Step.named("extrct", after="download")
    with pytest.raises(PipelineError, match=r"'odd' is no engine\.Stage"):
        Step.named("odd", after="download")


def test_an_unknown_pipeline_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="crawl"):
        plugins.pipeline("no-such-pipeline")
    assert "no_such_module" not in sys.modules
