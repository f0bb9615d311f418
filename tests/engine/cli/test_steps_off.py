"""What the commands say and do of a folder with a step that was off in its last run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.contract import registry
from engine.contract.item import item_id
from tests.engine.flow.test_steps_off import OFF, ON, pipeline
from tests.engine.toys import executions, outcomes, run, tree


@pytest.fixture
def penstock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setattr(registry, "pipeline", lambda name: failing())

    def call(*words: object) -> str:
        told = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.stdout

    return call


def failing() -> Any:
    return pipeline(does={"w": ["permanent"]})


def test_views_leave_it_out_and_retry_ends_what_failed_there(
    tmp_path: Path, penstock: Callable[..., str]
) -> None:
    run(failing(), tmp_path, ["v", "w"], ON)
    assert [*json.loads(penstock("status", tmp_path, "--json"))["stages"]] == ["made", "out"]
    run(failing(), tmp_path, ["v"], OFF)
    assert [*json.loads(penstock("status", tmp_path, "--json"))["stages"]] == ["made"]
    penstock("report", tmp_path)
    assert '"stages":["made"]' in (tmp_path / "report.html").read_text().replace(" ", "")

    before = executions(tmp_path)
    penstock("retry", tmp_path, "--quiet")
    assert executions(tmp_path) == before
    assert {stage for stage, _ in outcomes(tmp_path)} == {"made"}
    penstock("forget", tmp_path, "v")
    assert {item for _, item in outcomes(tmp_path)} == {item_id("w")}
    assert not [path for path in tree(tmp_path) if "/out/" in path]
