"""Outputs committed whole, their marks, and links that are not followed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Item, MissingOutput
from engine.contract.item import MARK
from engine.ledger.outputs.folders import (
    commit_output,
    discard_in_parts,
    discard_output,
    discard_part,
    is_whole,
    open_scratch,
    output_mark,
    remove_scratch,
    replace_link,
    sweep_scratch,
)


def commit(item: Item, stage: str, fingerprint: str = "f1", **files: str) -> None:
    scratch = open_scratch(item, stage)
    for name, text in files.items():
        (scratch / name).write_text(text)
    commit_output(item, stage, scratch, fingerprint)


def test_an_output_is_there_once_it_is_committed(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    scratch = open_scratch(item, "cut")
    (scratch / "deep").mkdir()
    (scratch / "deep" / "frame").write_text("1")
    (scratch / "link").symlink_to("nowhere")
    assert not item.has_output("cut")
    with pytest.raises(MissingOutput, match="has no output of stage 'cut'"):
        item.output("cut")
    commit_output(item, "cut", scratch, "f1", expanded=3)
    assert (item.output("cut") / "deep" / "frame").read_text() == "1"
    assert (item.output("cut") / "link").is_symlink()
    mark = output_mark(item, "cut")
    assert mark is not None
    assert (mark.fingerprint, mark.expanded) == ("f1", 3)
    assert not scratch.exists()
    assert item.output("cut").stat().st_mode & 0o777 == 0o755


def test_a_new_output_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    commit(item, "cut", "f1", old="1")
    commit(item, "cut", "f2", new="2")
    assert sorted(path.name for path in item.output("cut").iterdir()) == [MARK, "new"]
    assert [path.name for path in item.folder.iterdir()] == ["cut"]


def test_what_a_killed_run_left_is_not_in_the_way(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    left = open_scratch(item, "cut")
    (left / "half").write_text("1")
    assert list(open_scratch(item, "cut").iterdir()) == []


@pytest.mark.parametrize("files", [3, 40])
@pytest.mark.parametrize("synced", [True, False])
def test_few_and_many_files_are_committed_alike(tmp_path: Path, files: int, synced: bool) -> None:
    item = Item.at(tmp_path, "v")
    scratch = open_scratch(item, "cut")
    for number in range(files):
        (scratch / f"f{number}").write_text(str(number))
    commit_output(item, "cut", scratch, "f1", synced=synced)
    assert len(list(item.output("cut").iterdir())) == files + 1


def test_what_an_attempt_wrote_goes_with_it(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    first, second = open_scratch(item, "cut"), open_scratch(item, "cut")
    assert first != second
    (first / "half").write_text("1")
    remove_scratch(first)
    assert list(item.folder.iterdir()) == [second]
    assert sweep_scratch(item) == 1
    assert list(item.folder.iterdir()) == []
    assert sweep_scratch(Item.at(tmp_path, "never seen")) == 0


def test_partial_work_outlives_attempts_and_ends_with_the_commit(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    (item.partial("get") / "half").write_text("1")
    sweep_scratch(item)
    assert (item.partial("get") / "half").read_text() == "1"
    commit(item, "get")
    assert [path.name for path in item.folder.iterdir()] == ["get"]


def test_a_discarded_output_is_gone(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    commit(item, "cut", frame="1")
    discard_output(item, "cut")
    discard_output(item, "cut")
    assert list(item.folder.iterdir()) == []
    assert output_mark(item, "cut") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "null", "\udcff"),
        '{"fingerprint": 5, "expanded": null}',
        '{"fingerprint": "f1", "expanded": "x"}',
        '{"fingerprint": "f1", "expanded": null, "files": ["frame"]}',
        '{"fingerprint": "f1", "expanded": null, "files": {"frame": "1"}}',
    ],
)
def test_a_damaged_mark_is_no_mark(tmp_path: Path, text: str) -> None:
    item = Item.at(tmp_path, "v")
    commit(item, "cut", frame="1")
    (item.folder / "cut" / MARK).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert not is_whole(item, "cut")


def test_the_mark_is_plain_json_and_holds_the_sizes(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    scratch = open_scratch(item, "cut")
    (scratch / "frames").mkdir()
    (scratch / "frames" / "b.jpg").write_text("123")
    (scratch / "a.json").write_text("1")
    (scratch / "link").symlink_to("a.json")
    commit_output(item, "cut", scratch, "f1")
    mark = json.loads((item.output("cut") / MARK).read_text())
    sizes = {"a.json": 1, "frames/b.jpg": 3}
    assert mark == {"fingerprint": "f1", "expanded": None, "files": sizes}


def test_a_name_that_is_no_text_has_its_size_in_the_mark(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    commit(item, "cut", **{"caf\udce9": "1"})
    assert is_whole(item, "cut")
    (item.output("cut") / "caf\udce9").write_text("")
    assert not is_whole(item, "cut")


def _empty(file: Path) -> None:
    file.write_text("")


def _grow(file: Path) -> None:
    file.write_text("much more than there was")


def _replace_by_link(file: Path) -> None:
    elsewhere = file.parents[4] / "elsewhere"
    elsewhere.write_text("1")  # the same size
    file.unlink()
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("damage", [_empty, _grow, _replace_by_link, Path.unlink])
def test_an_output_whose_files_are_not_as_they_were_is_no_output(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    item = Item.at(tmp_path / "work", "v")
    scratch = open_scratch(item, "cut")
    (scratch / "deep").mkdir()
    (scratch / "deep" / "frame").write_text("1")
    commit_output(item, "cut", scratch, "f1")
    (item.output("cut") / "thumbs.db").write_text("what a file browser leaves is no damage")
    assert is_whole(item, "cut")
    damage(item.output("cut") / "deep" / "frame")
    assert not is_whole(item, "cut")


def test_a_mark_of_before_there_were_sizes_in_it_is_believed(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "v")
    commit(item, "cut", frame="1")
    (item.output("cut") / MARK).write_text('{"fingerprint": "f1", "expanded": null}\n')
    assert is_whole(item, "cut")


@pytest.fixture
def treasure(tmp_path: Path) -> Iterator[Path]:
    """A folder elsewhere that links lead to, and that must be as it was afterwards."""
    folder = tmp_path / "treasure"
    (folder / "cut").mkdir(parents=True)
    (folder / "cut" / "thesis.txt").write_text("years of work")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["cut"]
    assert [path.name for path in (folder / "cut").iterdir()] == ["thesis.txt"]


def test_the_folder_of_an_item_that_is_a_link_is_not_followed(
    tmp_path: Path, treasure: Path
) -> None:
    item = Item.at(tmp_path / "work", "v")
    item.folder.parent.mkdir(parents=True)
    item.folder.symlink_to(treasure)
    assert replace_link(item)
    assert not replace_link(item)
    commit(item, "cut")
    discard_output(item, "cut")


@pytest.mark.parametrize(
    "delete",
    [
        lambda item: discard_part(item.part("cut", 3).part("trim", 1)),
        lambda item: discard_part(item.part("cut", 3)),
        lambda item: discard_in_parts(item, "cut", "look"),
    ],
)
def test_what_a_run_dies_deleting_in_parts_is_swept_with_the_item(
    tmp_path: Path, delete: Callable[[Item], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Item.at(tmp_path, "v")
    part = item.part("cut", 3)
    for one, stage in ((part, "cut"), (part, "look"), (part.part("trim", 1), "trim")):
        commit(one, stage, frame="1")
    monkeypatch.setattr("shutil.rmtree", lambda path, **how: None)  # the run dies at this moment
    delete(item)
    monkeypatch.undo()
    assert sweep_scratch(item) == 1
    assert [path for path in tmp_path.rglob("*") if ".scratch-" in path.name] == []


@pytest.mark.parametrize("name", ["cut", ".cut.partial", ".cut.scratch-1"])
def test_a_link_inside_the_folder_of_an_item_is_not_followed(
    tmp_path: Path, treasure: Path, name: str
) -> None:
    item = Item.at(tmp_path / "work", "v")
    item.folder.mkdir(parents=True)
    (item.folder / name).symlink_to(treasure / "cut")
    assert not is_whole(item, "cut")
    (item.partial("cut") / "half").write_text("1")
    commit(item, "cut", frame="1")
    assert (item.output("cut") / "frame").read_text() == "1"
    assert not item.output("cut").is_symlink()
    sweep_scratch(item)
    assert [path.name for path in item.folder.iterdir()] == ["cut"]


def test_a_link_in_place_of_an_output_is_discarded_and_not_what_it_leads_to(
    tmp_path: Path, treasure: Path
) -> None:
    item = Item.at(tmp_path / "work", "v")
    item.folder.mkdir(parents=True)
    (item.folder / "cut").symlink_to(treasure / "cut")
    discard_output(item, "cut")
    assert list(item.folder.iterdir()) == []
