"""What the benchmarks of whole crawls see from outside."""

import os
import subprocess
from pathlib import Path

import av
import pytest

from benchmarks import crawl_material
from benchmarks.crawl_contestants import finished_lines
from benchmarks.crawl_material import long_video
from benchmarks.limits import short_of_limits
from benchmarks.long_video import fingerprint
from benchmarks.thread_watch import kind, watched_command, written_looks
from benchmarks.watches import CoreLook, FrameWatch
from tests.acceptance.clips import SHARP, make_clip


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Frames in the making and finished ones, a part's too, and some that were passed on."""
    for name in (
        "a/extract/frames/1.jpg",
        "a/extract.parts/00000001/extract/frames/2.jpg",
        "a/extract.parts/00000002/.extract.scratch-x/3.jpg",
        "a/extract.parts/00000001/filter/frames/2.jpg",
    ):
        path = tmp_path / "items" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    (tmp_path / "items" / "a" / "extract" / "frames.jsonl").write_text("1\n2\n")
    kept = tmp_path / "items" / "a" / "filter" / "frames"
    kept.mkdir(parents=True)
    os.link(tmp_path / "items" / "a" / "extract" / "frames" / "1.jpg", kept / "1.jpg")
    return tmp_path / "items"


def test_raw_frames_are_those_of_extract_the_unfinished_ones_included(items: Path) -> None:
    watch = FrameWatch(items)
    watch.look()
    assert (watch.frames, watch.megabytes, watch.described) == (3, 0.003, None)

    (items / "a" / "extract" / "frames" / "1.jpg").unlink()
    watch.look()
    assert watch.frames == 3, "the most at once"


def test_a_description_counts_once_its_output_is_finished(items: Path) -> None:
    watch = FrameWatch(items)
    made = items / "a" / ".describe.scratch-x"
    made.mkdir()
    (made / "descriptions.jsonl").write_text("{}\n")
    watch.look()
    assert watch.described is None
    assert list(finished_lines(items.parent, "descriptions.jsonl", "describe")) == []

    made.rename(items / "a" / "describe")
    watch.look()
    assert watch.described is not None
    assert list(finished_lines(items.parent, "descriptions.jsonl", "describe")) == ["{}"]


def test_only_what_neither_limit_explains_is_short_of_both() -> None:
    """A second each: all cores busy; nothing at all; the allowance used up; half of each."""
    idle = [(0, 0), (0, 0), (1, 1), (2, 2), (2.5, 2.5)]
    looks = [CoreLook(100 + at, 10 + at, seconds) for at, seconds in enumerate(idle)]
    described = [12 + tenth / 10 for tenth in range(10)] + [13.1, 13.2, 13.3, 13.4, 13.5]

    assert short_of_limits(looks, described, rate=10) == pytest.approx(0 + 1 + 0 + 0.5)


def test_a_long_video_is_as_long_as_it_says_and_no_two_seconds_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl_material, "KEPT", tmp_path / "kept")
    clips = [make_clip(tmp_path / f"{count}.mp4", range(count), options=SHARP) for count in (1, 2)]
    made = long_video(clips, 3)

    with av.open(str(made)) as container:
        frames = list(container.decode(video=0))
    assert [round(frame.time * crawl_material.RATE) for frame in frames] == list(range(90))
    assert (frames[0].width, frames[0].height) == (1280, 720)
    corners = {frame.to_ndarray(format="rgb24")[8, 8].tobytes() for frame in frames[::30]}
    assert len(corners) == 3
    assert long_video(clips, 3) == made
    assert [path.name for path in made.parent.iterdir()] == [made.name], "nothing half made"


def test_folders_are_alike_only_if_every_byte_is(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    first, same, other = (fingerprint(tmp_path / name) for name in "abc")
    assert first == same != other


def test_a_watched_command_does_the_same_and_tells_what_its_threads_used(tmp_path: Path) -> None:
    command = [*watched_command(tmp_path / "looks.json"), "crawl", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ran.stdout.startswith("Usage: penstock crawl")
    looks = written_looks(tmp_path / "looks.json")
    assert [look.clock for look in looks] == sorted(look.clock for look in looks)
    assert looks[-1].used["event loop"] >= looks[0].used["event loop"] > 0
    assert all(look.lock >= 0 for look in looks)


def test_threads_are_counted_by_what_they_do() -> None:
    names = ["MainThread", "penstock-filter-2", "penstock-infer_0", "watch", "Thread-3 (run)"]
    assert [kind(name) for name in names] == ["event loop", "filter", "infer", "watch", "others"]
