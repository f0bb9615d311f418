"""Names of results in one folder: whose they are, whatever is killed when."""

from pathlib import Path

import pytest

from stages.files.named import Named, place


@pytest.fixture
def names(tmp_path: Path) -> Named:
    found = Named(tmp_path)
    found.begin()
    return found


def test_a_name_is_its_items_until_it_is_released(names: Named) -> None:
    assert names.claim("a", iter(["Soup", "Soup-a"])) == "Soup"
    assert names.claim("b", iter(["soup", "soup-b"])) == "soup-b"
    assert names.claim("a", iter(["Soup", "Soup-a"])) == "Soup"
    names.release("a")
    names.release("a")
    assert names.name_of("a") is None
    assert names.claim("c", iter(["SOUP", "SOUP-c"])) == "SOUP"


def test_an_item_with_another_name_gives_the_first_one_up(names: Named) -> None:
    names.claim("a", iter(["Soup"]))
    assert names.claim("a", iter(["Stew"])) == "Stew"
    assert names.claim("b", iter(["Soup"])) == "Soup"


def test_a_claim_that_was_killed_half_way_is_taken_up(names: Named, tmp_path: Path) -> None:
    (tmp_path / ".names" / "is" / "soup").write_text("a")
    assert names.claim("a", iter(["Soup", "Soup-a"])) == "Soup"
    assert names.name_of("a") == "Soup"


def test_a_placed_file_takes_the_place_of_another(tmp_path: Path) -> None:
    first, second, target = tmp_path / "1", tmp_path / "2", tmp_path / "target"
    first.write_text("first")
    second.write_text("second")
    for source in (first, first, second):
        place(source, target)
        assert target.read_text() == source.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "target"]
