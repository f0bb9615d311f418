"""What a crawl shows of itself: kept frames with boxes, and duplicates beside what they repeat."""

import re
import shutil
from pathlib import Path

import pytest

from engine import PageContext, Section
from stages.crawl.dataset import gallery
from stages.crawl.dataset.build import build_dataset
from stages.crawl.dataset.gallery import crawl_sections
from tests.stages.crawled import Crawl, Shot

HOSTILE = "<script>alert(1)</script>"


def sections(crawl: Crawl) -> dict[str, Section]:
    context = PageContext(crawl.workdir, crawl.context().items)
    return {section.title: section for section in crawl_sections(context)}


def pictures(section: Section) -> int:
    return len(re.findall(r'<img src="data:image/jpeg;base64,[\w+/=]{500,}"', section.body))


@pytest.fixture
def crawl(tmp_path: Path) -> Crawl:
    """Two videos that share a scene; the second one repeats it twice, and is smaller."""
    made = Crawl(tmp_path)
    made.video("https://a.example/1", [Shot(1, 0.0), Shot(2, 61.5)], {"title": "Alpha"})
    small = {"size": (80, 60), "quality": 60}
    made.video(
        "https://a.example/2",
        [Shot(1, 0.0, **small), Shot(1, 1.0, **small)],  # type: ignore[arg-type]
        {"title": "Beta"},
    )
    return made


def test_kept_frames_are_shown_with_what_was_found(crawl: Crawl) -> None:
    build_dataset(crawl.context())

    kept = sections(crawl)["Frames kept"]

    assert pictures(kept) == 2
    assert 'viewBox="0 0 160 120"' in kept.body
    assert '<rect class="c0" x="10.0" y="20.0" width="40.0" height="80.0"/>' in kept.body
    assert "person 90%" in kept.body
    assert "A person." in kept.body
    assert "Alpha, at 1:01.5" in kept.body
    assert "All 2 frames" in kept.body


def test_duplicates_stand_beside_the_frame_that_they_repeat(crawl: Crawl) -> None:
    build_dataset(crawl.context())

    removed = sections(crawl)["Duplicates removed"]

    assert "2 removed frames nearly repeat 1 kept ones" in removed.body
    assert removed.body.count("<b>kept</b> Alpha") == 1
    assert len(re.findall(r"<b>distance \d</b> Beta", removed.body)) == 2
    assert pictures(removed) == 3


def test_removed_frames_that_are_gone_are_said_to_be(crawl: Crawl) -> None:
    build_dataset(crawl.context())
    for record in crawl.records.values():
        for stage in ("dedup", "filter"):
            shutil.rmtree(record.folder / stage)

    removed = sections(crawl)["Duplicates removed"]

    assert removed.body.count("deleted since") == 2
    assert pictures(removed) == 1


def test_before_there_is_a_dataset_frames_of_finished_videos_are_shown(crawl: Crawl) -> None:
    crawl.end("https://a.example/3", outcome="failed", stage="download", kind="not_found")

    shown = sections(crawl)

    assert list(shown) == ["Frames so far"]
    assert pictures(shown["Frames so far"]) == 3  # of the second video's two one was removed
    assert "Beta, at 0:0" in shown["Frames so far"].body


def test_nothing_is_shown_where_nothing_is_done(tmp_path: Path) -> None:
    assert sections(Crawl(tmp_path)) == {}


def test_an_empty_dataset_says_so(tmp_path: Path) -> None:
    made = Crawl(tmp_path)
    made.video("https://a.example/1", [])
    build_dataset(made.context())

    shown = sections(made)

    assert "No frames were kept." in shown["Frames kept"].body
    assert "No frame nearly repeated another." in shown["Duplicates removed"].body


def test_many_frames_are_sampled_over_the_whole_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "FRAMES", 5)
    monkeypatch.setattr(gallery, "CLUSTERS", 2)
    monkeypatch.setattr(gallery, "REMOVED", 1)
    made = Crawl(tmp_path)
    for video in range(4):
        shots = [Shot(3 * video + number, float(number)) for number in range(3)]
        again = [Shot(3 * video + number, 10.0 + number) for number in range(3)] * (video == 3)
        more = [Shot(9, 20.0)] * (video == 3)
        made.video(f"https://a.example/{video}", [*shots, *again, *more], {"title": f"T{video}"})
    build_dataset(made.context())

    shown = sections(made)

    assert "5 of 12 frames" in shown["Frames kept"].body
    assert len(set(re.findall(r"\bT\d, at", shown["Frames kept"].body))) >= 3
    body = shown["Duplicates removed"].body
    assert "4 removed frames nearly repeat 3 kept ones" in body
    assert "Shown are 2 of them" in body
    assert body.index("and 1 more") < body.rindex('class="cluster"'), "the largest comes first"


def test_titles_and_descriptions_stay_text(tmp_path: Path) -> None:
    made = Crawl(tmp_path)
    found = {"class": HOSTILE, "confidence": 0.9, "box": [0.0, 0.0, 9.0, 9.0]}
    shots = [Shot(1, 0.0, description=HOSTILE, detections=[found]), Shot(1, 1.0)]
    made.video("https://a.example/1", shots, {"title": HOSTILE})
    build_dataset(made.context())

    for section in sections(made).values():
        assert "<script" not in section.body
        assert "&lt;script&gt;" in section.body
