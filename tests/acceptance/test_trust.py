"""`penstock retry` on a folder that somebody else made: it chooses no code and no server."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.clips import make_corpus
from tests.acceptance.command import SHAPES, Ran, penstock, settings

Settings = dict[str, Any]


def fail_the_filter(work: Path) -> None:
    with sqlite3.connect(work / "penstock.db") as db:
        db.execute(
            "UPDATE stages SET outcome = 'failed', kind = 'x', reason = 'y' WHERE stage = 'filter'"
        )
        db.execute("UPDATE items SET outcome = 'failed'")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished crawl in which the filter has failed, as far as its ledger says."""
    folder = tmp_path_factory.mktemp("failed")
    make_corpus(folder / "clips", 1, scenes=1)
    clips = list((folder / "clips").iterdir())
    sets = SHAPES | {"stages.download.allow_private": True}
    assert penstock("crawl", *clips, "--out", folder / "work", *settings(sets), "--quiet").code == 0
    fail_the_filter(folder / "work")
    return folder / "work"


@pytest.fixture
def work(failed: Path, tmp_path: Path) -> Path:
    shutil.copytree(failed, tmp_path / "work", symlinks=True)
    return tmp_path / "work"


def retry(work: Path, *more: object) -> Ran:
    return penstock("retry", work, "--quiet", *more)


def tamper(work: Path, change: Callable[[Settings], object]) -> None:
    with sqlite3.connect(work / "penstock.db") as db:
        (text,) = db.execute("SELECT settings FROM runs").fetchone()
        changed = json.loads(text)
        change(changed["stages"] | {"limits": changed["limits"]})
        db.execute("UPDATE runs SET settings = ?", (json.dumps(changed, sort_keys=True),))


def test_a_run_of_ones_own_is_retried_without_a_question(work: Path) -> None:
    assert retry(work).code == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda stages: stages["filter"].update(weights="/evil.pt"), "stages.filter.weights"),
        (lambda all_: all_["limits"].update(shared_gates="redis://evil"), "limits.shared_gates"),
        (lambda all_: all_["limits"].update(cluster="evil:6379"), "limits.cluster"),
        (lambda s: s["describe"].update(base_url="http://evil/v1"), "stages.describe.base_url"),
        (lambda s: s["describe"].update(api_key_env="X_API_KEY"), "stages.describe.api_key_env"),
        (lambda s: s["download"].update(options={"exec": "x"}), "stages.download.options"),
        (lambda s: s["download"].update(proxy="http://evil:1"), "stages.download.proxy"),
        (lambda s: s["download"].update(plugins=True), "stages.download.plugins"),
    ],
)
def test_settings_that_somebody_changed_are_shown_and_not_used(
    work: Path, change: Callable[[Settings], object], told: str
) -> None:
    tamper(work, change)
    ran = retry(work)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    for words in (told, "--trust", str(work)):
        assert words in ran.err
    with sqlite3.connect(work / "penstock.db") as db:
        assert db.execute("SELECT DISTINCT outcome FROM items").fetchall() == [("failed",)]
        assert db.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


def test_settings_that_choose_nothing_of_the_kind_need_no_trust(work: Path) -> None:
    tamper(work, lambda stages: stages["extract"].update(fps=1.0))
    own = settings({name: SHAPES[name] for name in ("stages.filter.weights",)})
    assert retry(work, *own, "--set", "stages.download.allow_private=true").code == 0


def test_a_folder_of_elsewhere_is_used_once_it_is_trusted_and_then_is_ones_own(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    ran = retry(work)
    assert ran.code == 2
    assert "stages.filter.weights" in ran.err
    assert retry(work, "--trust").code == 0
    fail_the_filter(work)
    assert retry(work).code == 0


def test_what_config_toml_says_as_well_needs_no_trust(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    monkeypatch.chdir(tmp_path)
    weights = json.dumps(SHAPES["stages.filter.weights"])
    text = f"[stages.filter]\nweights = {weights}\n[stages.download]\nallow_private = true\n"
    (tmp_path / "config.toml").write_text(text)
    assert retry(work).code == 0


def test_a_user_without_a_place_for_the_key_can_crawl_and_trust(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert retry(work).code == 2
    assert retry(work, "--trust").code == 0


def test_no_variable_but_a_key_is_ever_sent() -> None:
    name = "stages.describe.api_key_env=AWS_SECRET_ACCESS_KEY"
    ran = penstock("crawl", "http://x.example/a.mp4", "--set", name)
    assert ran.code == 2
    assert "ends in _API_KEY" in ran.err
