"""Items: ids that are safe as file names, and outputs that are whole or not there."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Item
from engine.contract.item import item_id


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
