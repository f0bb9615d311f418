"""Items: ids that are safe as file names, and outputs that are whole or not there."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Item, MissingOutput, PipelineError
from engine.contract.item import MARK, PARAMETERS, item_id


@given(
    st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("\udc80\udcff"), min_size=1)
)
def test_an_id_is_safe_as_a_file_name_and_the_same_every_time(source: str) -> None:
    id_ = item_id(source)
    assert id_ == item_id(source)
    assert set(id_) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 12 <= len(id_) <= 53
    assert not id_.startswith("-")


def test_an_id_can_be_read_and_tells_sources_apart() -> None:
    first = item_id("https://www.example.org/watch?v=Abc")
    assert first.startswith("example-org-watch-v-abc-")
    assert first != item_id("https://www.example.org/watch?v=abc")
    assert item_id("日本") != item_id("中国")


@pytest.mark.parametrize("id_", ["../up", "a/b", ".hidden", "", "a\0b", "x" * 300, "a b"])
def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path, id_: str) -> None:
    if id_ == "":
        assert Item.at(tmp_path, "s", id_).id == item_id("s")
        return
    with pytest.raises(ValueError, match="is no item id"):
        Item.at(tmp_path, "s").child("t", id_)


# Parts


def finish(item: Item, *steps: str) -> Item:
    """Give the item outputs of these steps."""
    for step in steps:
        (item.folder / step).mkdir(parents=True)
        (item.folder / step / MARK).touch()
    return item


def test_a_part_is_an_item_in_a_folder_of_its_own(tmp_path: Path) -> None:
    video = Item.at(tmp_path, "https://example.org/v", "video", {"tone": "dry"})
    scene = video.part("scenes", 3, {"start": 1.5})
    chunk = scene.part("chunks", 12)
    assert scene.id == "video/scenes.parts/00000003"
    assert chunk.id == "video/scenes.parts/00000003/chunks.parts/00000012"
    assert chunk.folder == tmp_path / "items" / chunk.id
    assert (scene.source, scene.position) == (video.source, 3)
    assert dict(scene.parameters) == {"start": 1.5}
    assert (chunk.parent, chunk.split, chunk.root) == (scene, "chunks", video)
    assert video.root == video
    assert not tmp_path.joinpath("items").exists()


def test_what_a_part_produces_is_an_item_beside_the_whole_one(tmp_path: Path) -> None:
    part = Item.at(tmp_path, "s", "video").part("scenes", 0).part("chunks", 1)
    assert part.child("t", "other").folder == tmp_path / "items" / "other"


def test_a_part_keeps_whence_it_comes_with_its_inputs(tmp_path: Path) -> None:
    video = Item.at(tmp_path, "s", "video")
    part = video.part("scenes", 2).with_inputs({"video": "fetch"})
    assert (part.parent, part.split, part.position) == (video, "scenes", 2)


def test_a_part_reads_its_own_outputs_and_those_of_what_it_belongs_to(tmp_path: Path) -> None:
    video = finish(Item.at(tmp_path, "s", "video"), "fetch", "scenes", "chunks")
    scene = finish(video.part("scenes", 0), "objects", "scenes")
    roles = {"video": "fetch", "scene": "scenes", "objects": "objects", "chunk": "chunks"}
    chunk = scene.part("chunks", 0).with_inputs(roles)
    assert chunk.input("video") == video.folder / "fetch"
    assert chunk.input("objects") == scene.folder / "objects"
    assert chunk.input("scene") == scene.folder / "scenes", "the part, not the whole item's output"
    assert not chunk.has_input("chunk"), "of the step that made it, a part has its own or none"
    with pytest.raises(MissingOutput, match="000000 has no output of stage 'chunks'"):
        chunk.input("chunk")
    finish(chunk, "chunks")
    assert chunk.input("chunk") == chunk.folder / "chunks"


def test_an_item_gathers_its_parts_in_order(tmp_path: Path) -> None:
    video = finish(Item.at(tmp_path, "s", "video"), "scenes")
    for position in (10, 2, 1_000_000, 999_999, 0):
        finish(video.part("scenes", position), "scenes", "objects")
    finish(video.part("scenes", 1), "scenes")  # it was dropped, failed or skipped at objects
    finish(video.part("cuts", 5), "cuts")
    parameters = video.part("scenes", 2).folder / PARAMETERS
    parameters.write_text('{"start":1.5}')
    (video.folder / "scenes.parts" / "notes").touch()

    roles = {"objects": "objects", "scene": "scenes", "cut": "cuts", "none": None, "more": "fetch"}
    video = video.with_inputs(roles)
    found = list(video.parts("objects"))
    assert [part.position for part in found] == [0, 2, 10, 999_999, 1_000_000]
    assert [dict(part.parameters) for part in found][:3] == [{}, {"start": 1.5}, {}]
    assert found[1].input("objects") == found[1].folder / "objects"
    assert found[1].parent == video
    assert [part.position for part in video.parts("scene")] == [0, 1, 2, 10, 999_999, 1_000_000]
    assert [part.id for part in video.parts("cut")] == ["video/cuts.parts/00000005"]
    assert list(video.parts("none")) == list(video.parts("more")) == []
    with pytest.raises(PipelineError, match="the stage reads 'other', but its inputs are: objects"):
        list(video.parts("other"))
