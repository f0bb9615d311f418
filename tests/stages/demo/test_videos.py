"""The demo's videos: they decode, and what is a copy and what is not can be told apart."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from stages.demo.clips import Clip, Shot
from stages.demo.script import PLANTED, DemoVideo, Sight, make_videos
from stages.demo.videos import H264_COARSE, MPEG4, VP9, Encoding, cut_short, write_clip, write_copy
from stages.neardup.hashing import perceptual_hash

VIDEOS = [planted.video for planted in PLANTED if planted.video is not None]

CLIP = Clip("a test", 128, 96, 5, [Shot("star"), Shot("circle square", held=2)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    assert list(make_videos(folder)) == VIDEOS
    return folder


def frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


@pytest.mark.parametrize("video", VIDEOS, ids=lambda video: video.file)
def test_every_video_decodes_to_the_frames_of_its_clip(folder: Path, video: DemoVideo) -> None:
    shown = list(frames(folder / video.file))
    assert len(shown) == video.clip.seconds * video.clip.fps
    assert {(frame.width, frame.height) for frame in shown} == {(video.width, video.height)}
    times = [float(frame.time or 0) - float(shown[0].time or 0) for frame in shown]
    assert times == pytest.approx(
        [number / video.clip.fps for number in range(len(shown))], abs=0.002
    )
    assert all(frame.key_frame for frame in shown[:: video.clip.fps])


def test_only_frames_of_one_sight_are_near_duplicates(folder: Path, tmp_path: Path) -> None:
    """Far on both sides of the 8 bits by which frames are taken for duplicates."""
    hashes: dict[Sight, list[int]] = defaultdict(list)
    for video in VIDEOS:
        shown = list(frames(folder / video.file))
        for second, sight in video.sampled:
            path = tmp_path / "frame.jpg"
            shown[second * video.clip.fps].to_image().save(path, quality=90)
            hashes[sight].append(perceptual_hash(path))
    assert len(hashes) > sum(len(copies) > 1 for copies in hashes.values()) > 10
    for sight, copies in hashes.items():
        apart = [(one ^ other).bit_count() for one, other in itertools.combinations(copies, 2)]
        assert max(apart, default=0) <= 4, sight
    for (one, here), (other, there) in itertools.combinations(hashes.items(), 2):
        apart = [(left ^ right).bit_count() for left in here for right in there]
        assert min(apart) >= 14, (one, other)


def test_a_truncated_file_does_not_open(folder: Path) -> None:
    with pytest.raises(av.InvalidDataError):
        av.open(str(folder / "cut.mp4"))


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("a.mp4", H264_COARSE), ("a.mkv", H264_COARSE), ("a.webm", VP9), ("a.avi", MPEG4)],
)
def test_a_clip_is_the_same_file_every_time(name: str, encoding: Encoding, tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        write_clip(CLIP, encoding, folder / name)
        write_copy(folder / name, (64, 48), encoding, folder / f"copy-{name}")
        written.append([(folder / file).read_bytes() for file in (name, f"copy-{name}")])
    assert written[0] == written[1]


def test_a_stream_has_its_pieces_beside_it(tmp_path: Path) -> None:
    write_clip(CLIP, H264_COARSE, tmp_path / "a.m3u8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-0.ts", "a-1.ts", "a.m3u8"]
    assert sum(1 for _ in frames(tmp_path / "a.m3u8")) == 15


def test_a_file_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(bytes(range(100)))
    cut_short(tmp_path / "whole", 0.3, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == bytes(range(30))


def test_shapes_move_unless_they_are_held() -> None:
    assert [CLIP.shot_at(seconds) for seconds in (0, 0.99, 1, 2.99)] == [0, 0, 1, 1]
    assert CLIP.seconds == 3
    (start,), (later,) = CLIP.shapes_at(0), CLIP.shapes_at(0.8)
    assert (start.kind, start.colour, start.radius) == (later.kind, later.colour, later.radius)
    assert abs(start.x - later.x) + abs(start.y - later.y) > 2
    assert CLIP.shapes_at(1) == CLIP.shapes_at(2.8)
    assert [shape.kind for shape in CLIP.shapes_at(2)] == ["circle", "square"]
    with pytest.raises(ValueError, match="lasts 3 s"):
        CLIP.shapes_at(3)


@pytest.mark.parametrize("video", VIDEOS, ids=lambda video: video.file)
def test_what_is_sampled_is_in_full_view(video: DemoVideo) -> None:
    clip = video.clip
    for second in range(clip.seconds):
        for shape in clip.shapes_at(second):
            assert 0 <= shape.x - shape.radius < shape.x + shape.radius <= clip.width
            assert 0 <= shape.y - shape.radius < shape.y + shape.radius <= clip.height
