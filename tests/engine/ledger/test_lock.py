"""The lock on a work folder, and the note on who holds it."""

import json
import os
from pathlib import Path

import pytest

from engine import UsageError, WorkFolderError, locked, run_pipeline
from tests.engine.toys import configured, line, toy


def test_it_is_told_who_is_at_work_and_nothing_is_left_however_they_end(tmp_path: Path) -> None:
    work = tmp_path / "work"
    note = work / "penstock.pid"
    with pytest.raises(UsageError, match="no key"), locked(work):
        assert json.loads(note.read_text())["pid"] == os.getpid()
        with pytest.raises(WorkFolderError, match=f"process {os.getpid()}"), locked(work):
            pass
        assert note.exists(), "whoever is turned away leaves the note of the one at work"
        raise UsageError("no key")
    assert not note.exists()
    with locked(work):
        assert note.exists()
    assert not note.exists()


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    work = tmp_path / "new" / "work"
    with pytest.raises(UsageError), locked(work):
        raise UsageError("no key")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError), locked(work):
        (work / "penstock.db").touch()
        raise UsageError("no key")
    assert {path.name for path in work.iterdir()} == {"items", "penstock.db", "penstock.lock"}


def test_what_was_in_a_folder_before_stays(tmp_path: Path) -> None:
    (tmp_path / "own").touch()
    with pytest.raises(UsageError), locked(tmp_path):
        raise UsageError("no key")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_gates_that_are_not_there_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    work, pipeline = tmp_path / "work", line(toy("a"))
    config = configured(pipeline, "limits.shared_gates=redis://127.0.0.1:1")
    with pytest.raises(UsageError, match="gives no answer"):
        run_pipeline(pipeline, config, work, ["a"])
    assert not work.exists()
