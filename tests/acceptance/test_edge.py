"""Files that are broken, strange, or no video at all: each ends as it should, and says why."""

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.command import crawl
from tests.acceptance.outcome import check_dataset, check_no_scratch, status, videos

Serve = Callable[..., list[str]]

FAILED = {
    "moviepy_result.webm": ("not_video", "is an empty file"),
    "mp4parser_count-english-audio.mp4": ("no_video", "holds sound and no video"),
}

DONE = (
    "androidx_sample_missing_stsd.mp4",
    "androidx_sample_portrait.mp4",
    "androidx_sample_video_only.mp4",
    "androidx_sample_vvc.mp4",
    "androidx_sample_with_invalid_nalu.mp4",
    "androidx_silent-black-25s.mp4",
    "decord_corrupted.mp4",
    "decord_video_90.mov",
    "moviepy_bitmap.mp4",
    "moviepy_no_duration.webm",
    "mp4parser_count-video.mp4",
    "torchcodec_av1_video.mkv",
    "torchcodec_h265_10bits.mp4",
)


def check_edge(tmp_path: Path, sources: list[str]) -> None:
    work = tmp_path / "work"
    # Decoding is what is tried here; what is in these videos does not matter.
    sets = {"stages.filter.keep_empty": True, "stages.extract.fps": 0.2}
    ran = crawl(*sources, out=work, sets=sets)
    assert ran.code == 1, ran.said
    assert "Traceback" not in ran.said
    found = videos(work)
    assert set(found) == {*FAILED, *DONE}
    for name in DONE:
        assert found[name]["outcome"] == "done", found[name]
        assert found[name]["frames_sampled"] > 0
    for name, (kind, reason) in FAILED.items():
        row = found[name]
        assert (row["outcome"], row["stage"], row["kind"]) == ("failed", "download", kind)
        assert row["reason"] == f"{row['source']}: {reason}"
        assert row["reason"] in ran.out
    assert {failure["kind"] for failure in status(work)["failures"]} == {"not_video", "no_video"}
    check_dataset(work)
    check_no_scratch(work)


def test_every_edge_case_over_http_ends_in_the_right_class(
    tmp_path: Path, data: Path, serve: Serve
) -> None:
    check_edge(tmp_path, serve(sorted((data / "edge").iterdir())))


def test_every_edge_case_as_a_local_file_ends_in_the_right_class(
    tmp_path: Path, data: Path
) -> None:
    check_edge(tmp_path, [str(path) for path in sorted((data / "edge").iterdir())])
