"""Files that are broken, strange, or no video at all: each ends as it should, and says why."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.command import SHAPES, crawl, settings
from tests.acceptance.outcome import check_dataset, check_no_scratch, status, videos

pytestmark = pytest.mark.slow

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


NOBODY = """
import pwd, sys

def unknown(*_):
    raise KeyError("no such user")

pwd.getpwuid = unknown
from engine.cli.main import main

main(prog_name="penstock")
"""
"""The command as a user whom the system's list does not have."""


def test_a_user_without_a_home_crawls_and_is_told(tmp_path: Path, clips: list[Path]) -> None:
    work = tmp_path / "work"
    nobody = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER")}
    for command in (["doctor"], ["crawl", str(clips[0]), "--out", str(work), *settings(SHAPES)]):
        ran = subprocess.run(
            [sys.executable, "-c", NOBODY, *command],
            env=nobody | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        assert "penstock: this user has no home folder" in ran.stderr
    assert status(work)["items"]["done"] == 1
    assert not list(tmp_path.glob("penstock-home-*")), "what it was lent is gone"
