"""A crawl of real videos over HTTP, and what is in the dataset that comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import Ran, penstock, settings
from tests.acceptance.outcome import (
    check_dataset,
    check_no_scratch,
    check_nothing_ran_twice,
    status,
    tables,
    videos,
)

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]

WANTED = ["person", "bottle", "car", "teddy bear"]


def real(data: Path, **more: Any) -> list[str]:
    """Settings for real videos."""
    weights = str(data / "models" / "yolov8n_int8_lamri.onnx")
    return settings({"stages.filter.weights": weights, "limits.free_disk": 0}, more)


def listed(folder: Path, addresses: list[str]) -> Path:
    path = folder / "urls.txt"
    path.write_text("".join(f"{address}\n" for address in addresses))
    return path


def crawl_corpus(tmp_path: Path, data: Path, serve: Serve, fps: float) -> tuple[Ran, Path]:
    files = sorted((data / "video").iterdir()) + sorted((data / "neardup").iterdir())
    work = tmp_path / "work"
    sets = real(data) + settings({"stages.filter.classes": WANTED, "stages.extract.fps": fps})
    urls = listed(tmp_path, serve(files))
    return penstock("crawl", "--from", urls, "--out", work, "--allow-private", *sets), work


def check_corpus(ran: Ran, work: Path) -> None:
    assert ran.code == 0, ran.said
    found = videos(work)
    assert len(found) == 23
    for row in found.values():
        if row["outcome"] == "dropped":
            assert row["kind"] == "nothing_wanted"
            assert "shows person or bottle or car or teddy bear" in row["reason"]
        else:
            assert row["outcome"] == "done"
            assert row["frames_filtered"] > 0
    for shown in ("intel_bottle-detection.mp4", "intel_one-by-one-person-detection.mp4"):
        assert found[shown]["outcome"] == "done"
    for empty in ("mdn_flower.mp4", "mdn_stream-of-water.mp4"):
        assert found[empty]["outcome"] == "dropped"
    for row in tables(work)["frames"]:
        assert {seen["class"] for seen in row["detections"]} <= set(WANTED)
        assert row["description"]
    stages = status(work)["stages"]
    assert stages["download"]["done"] == stages["extract"]["done"] == 23
    check_dataset(work)
    check_no_scratch(work)
    check_nothing_ran_twice(work)


@pytest.mark.timeout(600)
def test_all_good_videos_end_done_or_dropped_for_a_stated_reason(
    tmp_path: Path, data: Path, serve: Serve
) -> None:
    # A frame every eight seconds, since looking at frames is nearly all of the work.
    ran, work = crawl_corpus(tmp_path, data, serve, fps=0.125)
    check_corpus(ran, work)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_all_good_videos_a_frame_a_second(tmp_path: Path, data: Path, serve: Serve) -> None:
    ran, work = crawl_corpus(tmp_path, data, serve, fps=1)
    check_corpus(ran, work)
    found = videos(work)
    assert found["intel_one-by-one-person-detection.mp4"]["frames_filtered"] > 50
    assert found["intel_bottle-detection.mp4"]["frames_filtered"] > 20


@pytest.mark.timeout(600)
def test_of_one_clip_encoded_twice_one_copy_of_each_frame_is_kept(
    tmp_path: Path, data: Path, serve: Serve
) -> None:
    files = sorted((data / "neardup").iterdir())
    work = tmp_path / "work"
    # Whatever the model thinks that these toys are: what counts is that they are seen twice.
    sets = real(data) + settings(
        {
            "stages.filter.classes": [],
            "stages.filter.confidence": 0.05,
            "stages.filter.keep_empty": True,
            "stages.extract.fps": 0.5,
        }
    )
    ran = penstock("crawl", *serve(files), "--out", work, "--allow-private", *sets)
    assert ran.code == 0, ran.said
    check_dataset(work)
    seen = {path.parents[1].name: timestamps(path) for path in work.glob("items/*/dedup/*.jsonl")}
    found = tables(work)
    kept = {row["file"] for row in found["frames"]}
    partner = {
        (row["video_id"], row["file"]): (row["kept_video_id"], row["kept_file"])
        for row in found["duplicates"]
    }
    ids = {name: row["id"] for name, row in videos(work).items()}
    pairs = 0
    for toy in ("elf", "frog", "pig", "rabbit"):
        one, other = ids[f"mdn_{toy}.mp4"], ids[f"mdn_{toy}.webm"]
        for file in seen[one] & seen[other]:
            copies = [f"frames/{video}/{file}" in kept for video in (one, other)]
            assert sum(copies) <= 1, f"both copies of {toy} at {file} are kept"
            if not any(copies):  # both look like another moment of the same clip
                assert partner[one, file][0] in (one, other)
                assert partner[other, file][0] in (one, other)
            pairs += 1
        assert any(row["video_id"] in (one, other) for row in found["frames"])
    assert pairs >= 8


def timestamps(hashes: Path) -> set[str]:
    """The files, named for their timestamps, of the frames that passed the filter."""
    folder = hashes.parent / "frames"
    return {path.name for path in folder.iterdir()}
