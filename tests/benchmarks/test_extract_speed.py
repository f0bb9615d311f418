"""The extraction benchmark: that it notices a wrong frame, and what it measures with."""

import av
import pytest
from av.video.frame import PictureType

from benchmarks import extract_speed
from benchmarks.footage import RATE, FootageFormat, encode, repeat
from stages.crawl.extract import Extract

SMALL = FootageFormat("H.264", 320, 180, "libx264", ".mp4", {"x264-params": "keyint=30"})


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    encode(SMALL, folder / "clip.mp4", 2)
    repeat(folder / "clip.mp4", 3, folder / "long.mp4", 2)
    return folder / "long.mp4"


def test_a_clip_is_repeated_without_a_gap(clip):
    with av.open(str(clip)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]

    assert [round(time * RATE) for time in times] == list(range(6 * RATE))


def test_the_film_has_b_frames(clip):
    with av.open(str(clip)) as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]

    assert 0.4 < kinds.count(PictureType.B) / len(kinds) < 0.8


def test_frames_of_a_full_decode_pass(clip, tmp_path):
    extract_speed.check(clip, tmp_path)
    whole = extract_speed.plain_decode(clip)
    assert [time for time, sampled, _, _ in whole if sampled] == [0, 1, 2, 3, 4, 5]
    assert [time for time, _, keyframe, _ in whole if keyframe] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("settings", "says"), [({"quality": 50}, "the frame at"), ({"fps": 0.5}, "the timestamps")]
)
def test_a_frame_that_differs_ends_the_benchmark(clip, tmp_path, monkeypatch, settings, says):
    monkeypatch.setattr(extract_speed, "SETTINGS", Extract.Settings(**settings))

    with pytest.raises(SystemExit, match=says):
        extract_speed.check(clip, tmp_path)


@pytest.mark.parametrize("single", [False, True])
def test_every_contestant_finds_a_frame_a_second(clip, tmp_path, single):
    samplers, _ = extract_speed.find_samplers()
    for number, sampler in enumerate((extract_speed.extract, *samplers.values())):
        folder = tmp_path / str(number)
        folder.mkdir()
        sampler(clip, folder, single)
        assert len(list(folder.rglob("*.jpg"))) in (6, 7), sampler
