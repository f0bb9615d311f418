"""The documents of videos, each as soon as it has ended; and all of them anew at a run's end."""

import json
from pathlib import Path

import pytest

from stages.recipe.pipeline import recipe
from tests.stages.results import Finished, texts


class Documents(Finished):
    def make(self, video: str, title: str, frames: int = 2) -> str:
        told = json.dumps({"made": video, "partial": False, "problems": []})
        files = {f"frames/{number:02}.jpg": f"{video} {number}" for number in range(frames)}
        files |= {"document.json": told, "document.md": title}
        files |= {"info.json": json.dumps({"title": title})}
        return self.put(f"https://example.com/{video}", "write", files)

    @property
    def found(self) -> dict[str, str]:
        found = texts(self.workdir / "documents")
        return {name: text for name, text in found.items() if name != "documents.jsonl"}

    @property
    def lines(self) -> dict[str, str]:
        """By video the file that its line names: each has one line."""
        text = (self.workdir / "documents" / "documents.jsonl").read_text()
        found = [json.loads(line) for line in text.splitlines()]
        assert len({one["video"] for one in found}) == len(found)
        return {one["video"]: one["file"] for one in found}


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(recipe, tmp_path)


def test_each_document_is_there_as_soon_as_its_video_has_ended(documents: Documents) -> None:
    soup, stew = documents.make("1", "Soup"), documents.make("2", "Stew")
    documents.finish_item(soup)
    documents.finish_item(stew)
    one_by_one = documents.found
    assert {f"{soup}/frames/00.jpg", f"{stew}/frames/01.jpg", "Soup.md"} < set(one_by_one)
    documents.finish()
    assert documents.found == one_by_one
    documents.finish_item(documents.make("1", "Broth"))
    assert set(documents.found) == {name.replace("Soup", "Broth") for name in one_by_one}
    documents.fail(soup)
    for _ in range(2):
        documents.finish_item(soup)
        assert not any(soup in name or "Broth" in name for name in documents.found)
    assert "Stew.json" in documents.found


def test_a_frame_that_is_not_chosen_any_more_goes(documents: Documents) -> None:
    documents.finish_item(documents.make("0", "First"))
    soup = documents.make("1", "Soup", frames=3)
    documents.finish_item(soup)
    (documents.records[soup].folder / "write" / "frames" / "01.jpg").unlink()
    documents.finish_item(soup)
    assert [name[-6:] for name in documents.found if soup in name] == ["00.jpg", "02.jpg"]


def test_videos_of_one_title_have_a_name_each(documents: Documents) -> None:
    ids = [documents.make(str(number), "Soup") for number in range(3)]
    documents.finish_item(ids[0])
    documents.finish()
    numbered = documents.found
    assert {"Soup.md", "Soup-2.md", "Soup-3.md"} < set(numbered)
    for item in ids:
        documents.finish_item(item)
    assert documents.found == numbered
    new = documents.make("new", "Soup")
    documents.finish_item(new)
    assert set(documents.found) - set(numbered) == {
        f"{new}/frames/00.jpg", f"{new}/frames/01.jpg",
        f"Soup-{new[-6:]}.json", f"Soup-{new[-6:]}.md",
    }  # fmt: skip


def test_a_line_is_there_as_soon_as_its_video_has_ended(documents: Documents) -> None:
    """A run that never ends has all lines: of what came, was made anew, failed."""
    soup, stew, tea = (documents.make(name[0], name) for name in ("Soup", "Wtew", "Tea"))
    documents.finish_item(soup)
    documents.finish_item(stew)
    documents.finish_item(tea)
    names = {soup: "Soup.json", stew: "Wtew.json", tea: "Tea.json"}
    assert documents.lines == names
    documents.finish_item(stew)
    assert documents.lines == names
    documents.finish_item(documents.make("S", "Broth"))
    assert documents.lines == names | {soup: "Broth.json"}
    documents.fail(stew)
    documents.finish_item(stew)
    assert documents.lines == {soup: "Broth.json", tea: "Tea.json"}
    documents.finish()
    assert documents.lines == {soup: "Broth.json", tea: "Tea.json"}


def test_half_a_line_that_a_kill_left_is_made_whole(documents: Documents) -> None:
    soup, stew = documents.make("1", "Soup"), documents.make("2", "Stew")
    documents.finish_item(soup)
    documents.finish_item(stew)
    file = documents.workdir / "documents" / "documents.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    tea = documents.make("3", "Tea")
    documents.finish_item(tea)
    assert documents.lines == {soup: "Soup.json", tea: "Tea.json"}
    documents.finish_item(stew)  # as its end was not told
    assert documents.lines == {soup: "Soup.json", tea: "Tea.json", stew: "Stew.json"}
