"""The dataset: the best copies over all videos, what is told of them, and the same bytes always."""

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.crawl.dataset.build import build_dataset
from stages.crawl.dataset.dedup import Dedup
from stages.files.folders import built_whole
from stages.neardup.hamming import pairs_within
from tests.stages.crawled import Crawl, Looks, Shot, tree


def rows(workdir: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(
        workdir / "dataset" / f"{table}.parquet"
    ).to_pylist()
    return found


def small_crawl(workdir: Path, order: int = 0) -> Crawl:
    """Three finished videos that share scenes, a playlist, a failure, a drop, and one pending."""
    crawl = Crawl(workdir)
    videos = [
        lambda: crawl.video(
            "https://a.test/one",
            [Shot(1, 0.0), Shot(2, 1.0), Shot(2, 2.0, description=None)],
            {"license": "CC0", "uploader": "Ann", "upload_date": "20260102", "duration": 3},
        ),
        lambda: crawl.video(
            "https://a.test/two",
            [Shot(2, 0.5, size=(320, 240), description="Two people."), Shot(3, 1.5)],
            {"license": "CC-BY | 4.0"},
            parent="list",
        ),
        lambda: crawl.video("https://b.test/three", [Shot(1, 7.0), Shot(1, 8.0)]),
    ]
    random.Random(order).shuffle(videos)
    for make in videos:
        make()
    crawl.end("https://a.test/list", expanded=1)
    crawl.end(
        "https://a.test/gone", "failed", stage="download", reason="it is gone (404)", kind="gone"
    )
    crawl.end("https://a.test/sea", "dropped", stage="filter", reason="no frame", kind="empty")
    crawl.end("https://a.test/later", "pending")
    return crawl


def test_it_keeps_the_best_copy_of_each_scene_over_all_videos(tmp_path: Path) -> None:
    crawl = small_crawl(tmp_path)
    lines = build_dataset(crawl.context())
    assert lines == [
        f"dataset: 3 frames from 2 videos (4 near-duplicates removed) in {tmp_path / 'dataset'}"
    ]
    ids = {record.source: record.id for record in crawl.records.values()}
    one, two = ids["https://a.test/one"], ids["https://a.test/two"]
    three = ids["https://b.test/three"]

    frames = rows(tmp_path, "frames")
    assert [(row["video_id"], row["file"]) for row in frames] == [
        (one, f"frames/{one}/000000.000.jpg"),
        (two, f"frames/{two}/000000.500.jpg"),
        (two, f"frames/{two}/000001.500.jpg"),
    ]
    assert frames[1] | {"hash": None} == {
        "video_id": two,
        "file": f"frames/{two}/000000.500.jpg",
        "timestamp": 0.5,
        "width": 320,
        "height": 240,
        "detections": [{"class": "person", "confidence": 0.9, "box": [10.0, 20.0, 50.0, 100.0]}],
        "description": "Two people.",
        "described_by": "openai:test-model",
        "reused_from": None,
        "hash": None,
        "source": "https://a.test/two",
    }
    for row in frames:
        original = (
            tmp_path
            / "items"
            / row["video_id"]
            / "dedup"
            / row["file"].replace(f"frames/{row['video_id']}", "frames")
        )
        assert (tmp_path / "dataset" / row["file"]).samefile(original)
    assert len(list((tmp_path / "dataset" / "frames").rglob("*.jpg"))) == 3

    assert [tuple(row.values())[:4] for row in rows(tmp_path, "duplicates")] == [
        (one, "000001.000.jpg", two, "000000.500.jpg"),
        (one, "000002.000.jpg", two, "000000.500.jpg"),
        (three, "000007.000.jpg", one, "000000.000.jpg"),
        (three, "000008.000.jpg", one, "000000.000.jpg"),
    ]


def test_no_two_kept_frames_are_alike_and_every_removed_one_is_near_its_kept_one(
    tmp_path: Path,
) -> None:
    crawl = Crawl(tmp_path)
    for video in range(4):
        shots = [Shot(scene=(3 * video + n) % 10, time=float(n), quality=40 + n) for n in range(12)]
        crawl.video(f"https://a.test/{video}", shots)
    build_dataset(crawl.context())
    frames, duplicates = rows(tmp_path, "frames"), rows(tmp_path, "duplicates")
    assert len(frames) + len(duplicates) == 48
    kept = {row["file"]: int(row["hash"], 16) for row in frames}
    assert len(pairs_within(np.array(list(kept.values()), np.uint64), 8)[0]) == 0
    for row in duplicates:
        assert row["distance"] <= 8
        assert f"frames/{row['kept_video_id']}/{row['kept_file']}" in kept


def test_everything_that_entered_has_a_row_with_what_became_of_it(tmp_path: Path) -> None:
    crawl = small_crawl(tmp_path)
    build_dataset(crawl.context())
    videos = {row["source"]: row for row in rows(tmp_path, "videos")}
    assert len(videos) == 7
    assert [row["id"] for row in videos.values()] == sorted(row["id"] for row in videos.values())

    done = videos["https://a.test/one"]
    assert (done["title"], done["uploader"], done["license"], done["duration"]) == (
        "Video https://a.test/one",
        "Ann",
        "CC0",
        3.0,
    )
    assert (done["frames_sampled"], done["frames_filtered"], done["frames_kept"]) == (6, 3, 1)
    assert videos["https://b.test/three"]["frames_kept"] == 0
    assert videos["https://a.test/two"]["parent"] == "list"
    assert videos["https://a.test/list"]["expanded"] == 1
    failed = videos["https://a.test/gone"]
    assert (failed["outcome"], failed["stage"], failed["kind"], failed["reason"]) == (
        "failed",
        "download",
        "gone",
        "it is gone (404)",
    )
    assert failed["frames_kept"] is None
    assert videos["https://a.test/later"]["outcome"] == "pending"


def test_the_same_crawl_makes_the_same_bytes_in_any_order_and_anywhere(tmp_path: Path) -> None:
    one = small_crawl(tmp_path / "one", order=1)
    other = small_crawl(tmp_path / "elsewhere" / "other", order=2)
    build_dataset(one.context())
    build_dataset(other.context())
    build_dataset(other.context())
    first = tree(one.workdir / "dataset")
    assert first == tree(other.workdir / "dataset")
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_it_needs_the_output_of_dedup_alone(tmp_path: Path) -> None:
    whole = small_crawl(tmp_path / "whole")
    pruned = small_crawl(tmp_path / "pruned")
    for record in pruned.records.values():
        for stage in ("download", "filter", "describe"):
            shutil.rmtree(record.folder / stage, ignore_errors=True)
    build_dataset(whole.context())
    build_dataset(pruned.context())
    assert tree(whole.workdir / "dataset") == tree(pruned.workdir / "dataset")


def test_an_old_output_of_a_video_that_fails_now_is_left_out(tmp_path: Path) -> None:
    crawl = small_crawl(tmp_path)
    crawl.end("https://a.test/two", "failed", stage="download", reason="gone", kind="gone")
    build_dataset(crawl.context())
    assert {row["source"] for row in rows(tmp_path, "frames")} == {"https://a.test/one"}


def test_a_crawl_with_nothing_done_makes_an_empty_dataset(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    assert build_dataset(crawl.context()) == [
        f"dataset: 0 frames from 0 videos (0 near-duplicates removed) in {tmp_path / 'dataset'}"
    ]
    assert rows(tmp_path, "frames") == rows(tmp_path, "videos") == []


def test_a_wider_distance_keeps_fewer(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    crawl.video("https://a.test/one", [Shot(1, float(n), quality=n) for n in range(1, 20)])
    kept = []
    for distance in (0, 16):
        crawl.settings["dedup"] = Dedup.Settings(distance=distance)
        build_dataset(crawl.context())
        kept.append(len(rows(tmp_path, "frames")))
    assert kept[0] > kept[1] == 1


def test_the_old_dataset_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    crawl = small_crawl(tmp_path)
    build_dataset(crawl.context())
    before = tree(tmp_path / "dataset")
    item = crawl.video("https://c.test/four", [Shot(9, 0.0)])
    (item.output("dedup") / "frames.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        build_dataset(crawl.context())
    assert tree(tmp_path / "dataset") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "items"]


def test_what_a_build_killed_while_it_swapped_had_set_aside_is_put_back(tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    aside = tmp_path / ".dataset.scratch-killed" / "old"
    aside.mkdir(parents=True)
    (aside / "file").write_text("whole")
    with pytest.raises(RuntimeError, match="again"), built_whole(target) as folder:
        (folder / "file").write_text("half")
        raise RuntimeError("killed again")
    assert tree(tmp_path) == {"dataset/file": b"whole"}


def test_after_a_dry_run_it_counts_requests_and_builds_nothing(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    crawl.settings["describe"] = Looks(dry_run=True)
    for name, count in (("one", 2), ("two", 3)):
        requests = {"requests": count, "frames": 10, "reused": 7 - count, "cached": 3}
        crawl.video(f"https://a.test/{name}", [Shot(1, 0.0)], requests=requests)
    crawl.end("https://a.test/gone", "failed", stage="download", reason="gone", kind="gone")
    (line,) = build_dataset(crawl.context())
    assert line == (
        "dry run: describing 20 frames of 2 videos would take 5 requests (9 would reuse a "
        "near-identical frame's description, 6 are answered already); no dataset was built"
    )
    assert not (tmp_path / "dataset").exists()


class TestCard:
    @pytest.fixture
    def card(self, tmp_path: Path) -> str:
        build_dataset(small_crawl(tmp_path).context())
        return (tmp_path / "dataset" / "README.md").read_text()

    def test_it_counts(self, card: str) -> None:
        assert "3 frames from 2 videos" in card
        assert "| near-duplicates removed | 4 |" in card
        assert "| of them, near-duplicates of a frame of another video | 4 |" in card
        assert "| entered | 7 |" in card
        assert "| person | 3 | 3 |" in card
        assert "| failed | download | gone | 1 |" in card
        assert "| CC-BY \\| 4.0 | 1 |" in card
        assert "| CC0 | 1 |" in card

    def test_it_names_settings_and_versions_but_nothing_of_the_machine(self, card: str) -> None:
        assert "| dedup.distance | 8 |" in card
        assert '| filter.weights | "best.pt" |' in card
        assert "/home" not in card
        assert '| filter.passed_on | ["password"] |' in card
        assert "hunter2" not in card
        assert "filter.device" not in card
        assert "| penstock | 0.1.0 |" in card

    def test_it_lets_the_datasets_library_load_the_folder(
        self, card: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        datasets = pytest.importorskip("datasets")
        cache = str(tmp_path / "cache")
        loaded = datasets.load_dataset(str(tmp_path / "dataset"), split="train", cache_dir=cache)
        assert loaded.num_rows == 3
        assert loaded[1]["description"] == "Two people."
        assert loaded[1]["detections"][0]["class"] == "person"
        videos = datasets.load_dataset(
            str(tmp_path / "dataset"), "videos", split="train", cache_dir=cache
        )
        assert videos.num_rows == 7


def test_passwords_and_signatures_are_not_passed_on(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    address = "https://me:hunter2@a.test/one.mp4?sig=f00d"
    crawl.video(address, [Shot(1, 0.0)], {"webpage_url": f"{address}&v=1"})  # as earlier versions
    crawl.end(f"{address}&v=2", "failed", stage="download", reason=f"{address}: is gone", kind="x")
    build_dataset(crawl.context())
    videos = {row["source"]: row for row in rows(tmp_path, "videos")}
    assert videos["https://a.test/one.mp4"]["webpage_url"] == "https://a.test/one.mp4?v=1"
    assert videos["https://a.test/one.mp4?v=2"]["reason"] == "https://a.test/one.mp4: is gone"
    assert [row["source"] for row in rows(tmp_path, "frames")] == ["https://a.test/one.mp4"]
    assert "hunter2" not in str(list((tmp_path / "dataset").rglob("*")))
