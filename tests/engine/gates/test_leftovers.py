"""What killed runs leave goes where a run has no room to begin: of items, and of their parts."""

from pathlib import Path

from engine.gates.leftovers import kept_between_attempts, make_room

BLOCK = 4096
ITEM = "items/a"
PART = "items/a/cut.parts/00000002"
NESTED = f"{PART}/chop.parts/00000000"
NO_END = 1 << 60
"""More bytes than any disk has free."""


def written(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * BLOCK)


def test_what_was_cut_off_and_what_is_kept_for_another_attempt_go(tmp_path: Path) -> None:
    for place in (ITEM, PART, NESTED):
        written(tmp_path / place / ".weigh.scratch-1" / "half")
        written(tmp_path / place / ".fetch.partial" / "half")
        written(tmp_path / place / "cut" / "whole")
    assert kept_between_attempts(tmp_path) == 3 * BLOCK
    make_room(tmp_path, NO_END)
    files = [
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ]
    assert sorted(files) == sorted(f"{place}/cut/whole" for place in (ITEM, PART, NESTED))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere" / "a" / ".fetch.partial" / "half")
    (tmp_path / ITEM).mkdir(parents=True)
    (tmp_path / ITEM / "cut.parts").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "items" / "b").symlink_to(tmp_path / "elsewhere" / "a")
    make_room(tmp_path, NO_END)
    assert (tmp_path / "elsewhere" / "a" / ".fetch.partial" / "half").exists()


def test_nothing_goes_where_there_is_room(tmp_path: Path) -> None:
    written(tmp_path / ITEM / ".fetch.partial" / "half")
    assert make_room(tmp_path, 1) == 0
    assert kept_between_attempts(tmp_path) == BLOCK
