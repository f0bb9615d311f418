"""What a pipeline wants imported is imported before its steps open, by one thread."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from tests.engine.toys import Toy, line, run, toy

NEEDED = "imported_first_by_a_run"


class Opening(Toy):
    """Notes whether the module is there when it opens."""

    found: ClassVar[list[bool]] = []

    def open(self) -> None:
        self.found.append(NEEDED in sys.modules)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that notes how often it is imported; the file with its notes."""
    notes = tmp_path / "notes"
    text = f"with open({str(notes)!r}, 'a') as file:\n    file.write('imported ')\n"
    (tmp_path / f"{NEEDED}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, NEEDED, raising=False)
    return notes


def test_it_is_there_when_the_steps_open(tmp_path: Path, module: Path) -> None:
    Opening.found.clear()
    plain = line(toy("a", base=Opening), toy("b", "a", base=Opening))
    pipeline = replace(plain, imports=["not_installed_anywhere", NEEDED])
    try:
        assert run(pipeline, tmp_path / "w", ["v1"]).items["done"] == 1
        assert Opening.found == [True, True]
        assert module.read_text() == "imported "
    finally:
        sys.modules.pop(NEEDED, None)
    assert run(pipeline, tmp_path / "w", ["v1"]).items["reused"] == 1
    assert module.read_text() == "imported ", "not where there is nothing to do"
