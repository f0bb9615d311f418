"""`penstock worker` reads the settings file that all pipelines share."""

from pathlib import Path

import pytest

from tests.acceptance.command import penstock

pytest.importorskip("bullmq")


def test_a_file_with_other_pipelines_settings_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert penstock("init").code == 0
    ran = penstock(
        *("worker", "--queue", "redis://127.0.0.1:9", "--name", "q", "--profile", "scenes")
    )
    assert ran.code == 2
    assert ran.said.startswith("penstock: the queue's Redis does not answer: ")
