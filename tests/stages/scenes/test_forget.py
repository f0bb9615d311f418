"""`penstock forget`: a video is out of every place, or still known; never half forgotten."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine import locked
from engine.cli import forget_command
from engine.cli.main import main
from tests.stages.scenes.test_persist import held, run
from tests.stages.scenes.test_scenes import clip

BOTH = ['stages.persist.sinks=["sqlite", "parquet"]']


def forget(folder: Path, name: object) -> Result:
    return CliRunner().invoke(main, ["forget", str(folder), str(name)])


def traces(work: Path, name: str) -> list[str]:
    """The places that still tell of the video: names of files, their content, rows."""
    found = [str(path) for path in work.rglob("*") if name in path.name]
    files = (path for path in work.rglob("*") if path.is_file())
    return found + [str(path) for path in files if name.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of two videos and the work folder of a run on them, with two sinks."""
    folder = tmp_path_factory.mktemp("forget")
    files = [clip(folder / "secret.mp4", 60, (30,)), clip(folder / "other.mp4", 30, ())]
    report = run(folder / "work", *files, sets=BOTH)
    assert report.items["done"] == 2
    (folder / "work" / "report.html").write_text("old")
    return folder


def test_what_is_wrong_is_said_and_nothing_is_lost(made):
    work = made / "work"
    answer = forget(work, "secrets")
    assert (answer.exit_code, len(answer.output.splitlines())) == (2, 1)
    assert "knows no video 'secrets'" in answer.output
    assert "-secret-mp4-" in forget(work, "secret.mp4").output.partition("did you mean ")[2]
    assert forget(made, "secret").exit_code == 2
    with locked(work):
        answer = forget(work, made / "secret.mp4")
    assert answer.exit_code == 2
    assert "is in use by process" in answer.output
    assert held(work / "search.db") == {"secret": 2, "other": 1}


@pytest.mark.parametrize("cut_off_at", ["finish", "folder", "ledger"])
def test_cut_off_at_any_step_it_is_known_still(made, monkeypatch, cut_off_at):
    """One step after the other: each call gets further, and none loses the video's name."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    target = {"finish": "run_finish", "folder": "_delete", "ledger": "Ledger"}[cut_off_at]
    monkeypatch.setattr(forget_command, target, die)
    assert forget(made / "work", made / "secret.mp4").exit_code == 130
    with closing(sqlite3.connect(made / "work" / "penstock.db")) as db:
        assert db.execute("SELECT count(*) FROM items WHERE id LIKE '%secret%'").fetchone()[0]


def test_a_video_is_out_of_every_place_and_can_come_again(made):
    work = made / "work"
    answer = forget(work, made / "secret.mp4")
    assert answer.exit_code == 0, answer.output
    for told in ("sqlite: ", "parquet: ", "scenes: 1 scene of 1 video", "the ledger: "):
        assert told in answer.output
    assert "report.html was written before" in answer.output
    assert traces(work, "secret") == []
    assert held(work / "search.db") == {"other": 1}
    assert forget(work, made / "secret.mp4").exit_code == 2

    again = run(work, made / "secret.mp4", made / "other.mp4", sets=BOTH)
    assert (again.items["done"], again.items["reused"]) == (2, 1)
    assert not again.discrepancies
    assert held(work / "search.db") == {"secret": 2, "other": 1}
