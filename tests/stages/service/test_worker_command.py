"""`penstock worker` reads the settings file that all pipelines share."""

from pathlib import Path

import pytest

from tests.acceptance.command import penstock

pytest.importorskip("bullmq")

QUEUE = ("worker", "--queue", "redis://127.0.0.1:9", "--name", "q", "--profile", "scenes")


def test_a_file_with_other_pipelines_settings_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert penstock("init").code == 0
    ran = penstock(*QUEUE)
    assert ran.code == 2
    assert ran.said.startswith("penstock: the queue's Redis does not answer: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--drain", "soon"), "'soon' is no length of time; write it like 20s, 5m or 1h"),
        (("--lock", "500ms"), "'500ms' is no length of time"),
        (("--lock", "0.5"), "'0.5' is too short: 1s is the least"),
        (("--profile", "recipe"), "profiles 'scenes' and 'recipe' differ in their pipelines"),
        (("--name", "a:b"), "--name 'a:b': the name of a BullMQ queue"),
        (("--root", "/nowhere"), "--root /nowhere: there is no such folder"),
    ],
)
def test_a_wrong_option_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = penstock(*QUEUE, *options)
    assert ran.code == 2
    assert told in " ".join(ran.said.split())
