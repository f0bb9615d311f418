"""Lessons on the report page: in a file, and what the live page is sent."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Item, ItemRecord, PageContext, PageFile
from engine.ledger.reader import LedgerReader
from stages.lesson.page import answer, lesson_sections
from tests.acceptance.command import penstock
from tests.stages.lesson.test_lesson import run, write

SECTIONS: list[dict[str, Any]] = [
    {"title": "<b>One</b>", "seconds": 1},
    {"title": "Two", "seconds": 1, "image_file": "a.png"},
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson that needs no espeak-ng, without one of its sections."""
    folder = tmp_path_factory.mktemp("page")
    script = write(folder / "script", *SECTIONS)
    (folder / "script" / "a.png").write_bytes(b"none")
    assert run(folder / "work", script).exit_code == 1
    return folder / "work"


def context(work: Path, *, live: bool) -> PageContext:
    def items() -> Iterator[ItemRecord]:
        with LedgerReader(work) as reader:
            yield from reader.item_records()

    return PageContext(work, items, live)


def test_the_page_shows_sections_with_pictures_and_gaps(work: Path) -> None:
    assert penstock("report", work).code == 0
    html = (work / "report.html").read_text("utf-8")
    assert "&lt;b&gt;One&lt;/b&gt;" in html
    assert "<b>One" not in html
    assert "Missing: the section&#39;s picture cannot be read" in html
    assert "1 missing" in html
    assert len(re.findall('src="data:image/jpeg', html)) == 2, "the poster, and one section"
    [film] = set(re.findall(r'href="(file:[^"#]*)#t=1"', html))
    assert Path(film.removeprefix("file://")).is_file()


def test_a_live_page_is_sent_the_videos_of_the_work_folder_alone(work: Path) -> None:
    live = context(work, live=True)
    [section] = lesson_sections(live)
    address = re.search(r"ask/video\?lesson=([^#\"]*)", section.body)
    assert address is not None
    found = answer(live, "video", {"lesson": address[1]})
    assert isinstance(found, PageFile)
    assert found.path.is_file()
    assert answer(live, "video", {"lesson": "../x"}) is None
    assert answer(live, "picture", {"lesson": address[1]}) is None


def test_a_damaged_lesson_is_told_of(work: Path) -> None:
    record = next(context(work, live=False).items())
    facts = Item(record.id, record.source, record.folder).output("lesson") / "lesson.json"
    before = facts.read_text()
    facts.write_text('{"title": "T", "gaps": 3, "sections": []}')
    try:
        [section] = lesson_sections(context(work, live=False))
        assert "T cannot be shown" in section.body
        facts.write_text("torn")
        [section] = lesson_sections(context(work, live=False))
        assert "No video is finished yet" in section.body
    finally:
        facts.write_text(before)
