"""The lock on a work folder, and the note on who holds it."""

import json
import os
from pathlib import Path

import pytest

from engine import UsageError, WorkFolderError, locked


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
