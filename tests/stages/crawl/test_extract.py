"""The extract stage on clips whose frames tell their number, and on real, odd and broken files."""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from engine import Item, Permanent
from engine.contract.stage import Cancellation, Cancelled
from stages.crawl.extract import Extract
from stages.crawl.frame_choice import sampling_for
from stages.media.cores import Cores
from stages.media.damage import Damage
from stages.media.packets.scan import scan_video
from stages.media.packets.wanted_frames import choose_frames, find_segments
from stages.media.video import open_video
from tests.stages.attempts import attempting
from tests.stages.clips import make_clip, moving_picture
from tests.stages.extracting import Output, run_extract

VARIABLE = [0, 40, 80, 500, 540, 1000, 1700, 1701, 1999, 2000, 2001, 3500, 3600, 4400, 4700]
"""Milliseconds at which the frames of a clip with a variable frame rate are shown."""


Run = Callable[..., Output]


@pytest.fixture
def extract(make_item: Callable[..., Item], tmp_path: Path) -> Run:
    """Runs the stage on a file that is already there."""

    def run(path: Path, **settings: object) -> Output:
        return run_extract(make_item, tmp_path, path, **settings)

    return run


@pytest.fixture(params=[".mp4", ".mkv"])
def variable(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    options = {"x264-params": "bframes=2:b-adapt=0:keyint=5:scenecut=0", "crf": "8"}
    return make_clip(tmp_path / f"variable{request.param}", VARIABLE, options=options)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 5, 9, 10, 12]),
        ({"fps": 2}, [0, 3, 5, 9, 10, 11, 12, 13]),
        ({"fps": 1, "start": 0.5}, [3, 5, 10, 11, 13]),
        ({"fps": 1, "start": 0.999}, [4, 8, 10, 12]),
        ({"fps": 1, "end": 2}, [0, 5]),
        ({"fps": 1, "end": 2.0001}, [0, 5, 9]),
        ({"fps": 1000, "start": 1.7, "end": 1.702}, [6, 7]),
        ({"fps": 1, "max_frames": 2}, [0, 5]),
        ({"sample": "all"}, list(range(15))),
        ({"sample": "all", "start": 0.5, "end": 2}, [3, 4, 5, 6, 7, 8]),
        ({"sample": "all", "max_frames": 3}, [0, 1, 2]),
        ({"sample": "keyframes"}, [0, 5, 10]),
        ({"sample": "keyframes", "start": 0.001}, [5, 10]),
        ({"sample": "count", "count": 1, "end": 3}, [5]),
        ({"sample": "count", "count": 4, "end": 4}, [3, 5, 10, 11]),
        ({"sample": "count", "count": 2, "start": 1, "end": 3}, [5, 10]),
        ({"sample": "count", "count": 1000, "end": 0.54}, [0, 1, 2, 3]),
    ],
)
def test_frames_are_chosen_by_when_they_are_shown(extract, variable, settings, expected):
    output = extract(variable, **settings)

    assert output.numbers == expected
    assert output.milliseconds == [VARIABLE[number] for number in expected]
    assert output.summary["frames"] == len(expected)
    assert output.summary["damage"] == []


def test_times_count_from_the_first_frame(extract, tmp_path):
    times = [700 + index * 100 for index in range(20)]
    clip = make_clip(tmp_path / "late.ts", times, rate=10, options={"x264-params": "bframes=2"})

    output = extract(clip, fps=2)

    assert output.milliseconds == [0, 500, 1000, 1500]
    assert output.numbers == [0, 5, 10, 15]
    assert output.summary["duration"] == 2.0


def test_what_is_written(extract, variable):
    output = extract(variable, size=32)

    assert output.summary == {"frames": 5, "duration": 4.701, "codec": "h264", "damage": []}
    assert output.frames[1] == {
        "file": "000001.000.jpg",
        "timestamp": 1.0,
        "width": 32,
        "height": 24,
        "keyframe": True,
    }
    assert sorted(path.name for path in (output.folder / "frames").iterdir()) == [
        str(frame["file"]) for frame in output.frames
    ]
    with Image.open(output.folder / "frames" / "000001.000.jpg") as picture:
        assert picture.size == (32, 24)


def test_two_frames_in_one_millisecond_have_two_names(extract, tmp_path):
    base = Fraction(1, 10_000)
    clip = make_clip(tmp_path / "fast.mp4", [0, 2, 4, 10, 12], time_base=base)

    output = extract(clip, sample="all")

    assert [frame["file"] for frame in output.frames] == [
        "000000.000.jpg",
        "000000.000-1.jpg",
        "000000.000-2.jpg",
        "000000.001.jpg",
        "000000.001-1.jpg",
    ]
    assert output.numbers == [0, 1, 2, 3, 4]


def test_the_same_video_and_settings_give_the_same_bytes(extract, data):
    path = data / "video/mdn_friday.mp4"

    assert extract(path, fps=2).all_bytes() == extract(path, fps=2, threads=3).all_bytes()


LONG = {
    ".mp4": ("libx264", {"x264-params": "keyint=40:bframes=3:scenecut=0"}, {}),
    "fragmented.mp4": (
        "libx264",
        {"x264-params": "keyint=40:open-gop=0:bframes=3:scenecut=0"},
        {"movflags": "frag_keyframe+empty_moov"},
    ),
    ".mkv": ("libsvtav1", {"g": "40", "preset": "12"}, {}),
    ".webm": ("libvpx-vp9", {"g": "40", "cpu-used": "8", "deadline": "realtime"}, {}),
    ".ts": ("libx264", {"x264-params": "keyint=40:bframes=3:scenecut=0"}, {}),
    ".flv": ("libx264", {"x264-params": "keyint=40:bframes=3:scenecut=0"}, {}),
    "single.mp4": ("libx264", {"x264-params": "keyint=infinite:bframes=3:scenecut=0"}, {}),
}
"""Clips of 400 frames by name: codec, its options, the container's options."""


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """Makes the clip of this name, once."""
    folder = tmp_path_factory.mktemp("long")

    @cache
    def make(name):
        codec, options, container_options = LONG[name]
        return make_clip(
            folder / f"clip-{name}",
            range(400),
            time_base=Fraction(1, 25),
            codec=codec,
            options=options,
            container_options=container_options,
            size=(160, 96),
            rate=25,
            picture=moving_picture,
        )

    return make


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    "settings", [{"fps": 3}, {"sample": "all", "start": 2.3, "end": 14}], ids=["fps", "all"]
)
def test_however_many_threads_there_are_the_bytes_are_the_same(
    extract, long_clip, monkeypatch, name, settings
):
    clip = long_clip(name)
    table = scan_video(clip, Damage())
    wanted = choose_frames(table, sampling_for(Extract.Settings(**settings), table))
    segments = len(find_segments(table, wanted))
    monkeypatch.setattr(Extract, "_write_whole", None)  # nobody falls back to it
    monkeypatch.setattr(Extract, "cores", Cores(4))

    alone = extract(clip, threads=1, **settings)

    assert extract(clip, **settings).all_bytes() == alone.all_bytes()
    assert extract(clip, threads=3, **settings).all_bytes() == alone.all_bytes()
    assert Extract.cores.busy == 0
    assert len(alone.frames) > 30
    assert segments == 1 if name == "single.mp4" else segments >= 3


def test_a_frame_that_does_not_come_in_one_thread_makes_all_of_it_decoded_in_order(
    extract, tmp_path, monkeypatch
):
    _, options, _ = LONG[".mp4"]
    clip = make_clip(
        tmp_path / "clip.mp4",
        range(400),
        time_base=Fraction(1, 25),
        options=options | {"crf": "10"},
        size=(160, 96),
        rate=25,
        picture=moving_picture,
    )
    with open_video(clip) as video:
        packets = [(packet.pos, packet.size) for packet in video.packets(Damage())]
    broken = bytearray(clip.read_bytes())
    position, size = max(packets[200:240], key=lambda it: it[1])
    broken[position + 40 : position + size] = bytes(size - 40)
    clip.write_bytes(broken)
    monkeypatch.setattr(Extract, "cores", Cores(4))

    alone = extract(clip, fps=5, threads=1)
    together = extract(clip, fps=5)

    assert alone.summary["damage"] != []
    assert together.all_bytes() == alone.all_bytes()
    assert len(alone.frames) == 80


def test_seeking_far_in_changes_no_byte(extract, data):
    """Frames after a seek to 99 s are those of a run from the beginning."""
    path = data / "video/intel_one-by-one-person-detection.mp4"
    late = extract(path, sample="all", size=64, start=100, end=101)
    whole = extract(path, sample="all", size=64, end=101)

    assert len(late.frames) == 10
    assert late.frames == whole.frames[-10:]
    for frame in late.frames:
        name = f"frames/{frame['file']}"
        assert (late.folder / name).read_bytes() == (whole.folder / name).read_bytes()


ENDINGS: dict[str, tuple[int, str, tuple[int, int]] | str] = {
    "androidx_sample_missing_stsd.mp4": (2, "h264", (640, 427)),
    "androidx_sample_portrait.mp4": (2, "h264", (427, 640)),
    "androidx_sample_video_only.mp4": (2, "h264", (640, 427)),
    "androidx_sample_vvc.mp4": (5, "vvc", (320, 180)),
    "androidx_sample_with_invalid_nalu.mp4": (2, "h264", (640, 427)),
    "androidx_silent-black-25s.mp4": (25, "h264", (320, 240)),
    "decord_corrupted.mp4": (5, "h264", (640, 360)),
    "decord_video_90.mov": (1, "h264", (320, 568)),
    "moviepy_bitmap.mp4": (5, "h264", (1, 1)),
    "moviepy_no_duration.webm": (5, "vp9", (640, 360)),
    "moviepy_result.webm": "damaged",
    "mp4parser_count-english-audio.mp4": "no_video",
    "mp4parser_count-video.mp4": (25, "h264", (640, 480)),
    "torchcodec_av1_video.mkv": (5, "av1", (640, 360)),
    "torchcodec_h265_10bits.mp4": (1, "hevc", (200, 200)),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_how_odd_and_broken_files_end(extract, data, name):
    expected = ENDINGS[name]
    if isinstance(expected, str):
        with pytest.raises(Permanent) as raised:
            extract(data / "edge" / name)
        assert raised.value.kind == expected
        assert "\n" not in raised.value.reason
        return
    frames, codec, size = expected

    output = extract(data / "edge" / name)

    assert output.summary["frames"] == frames
    assert output.summary["codec"] == codec
    assert {(frame["width"], frame["height"]) for frame in output.frames} == {size}


def test_every_odd_file_has_a_known_ending(data):
    assert {path.name for path in (data / "edge").iterdir()} == set(ENDINGS)


def test_damage_is_told_and_what_decodes_is_kept(extract, data):
    output = extract(data / "edge/decord_corrupted.mp4")

    assert output.summary["damage"] == [
        "1 packet could not be decoded, at 3.0 s",
        "1 frame is damaged, at 3.4 s",
    ]
    assert output.milliseconds == [0, 1000, 2000, 2900, 4000]


@pytest.mark.parametrize(
    ("name", "frames"), [("video/mdn_flower.mp4", 4), ("video/mdn_flower.webm", 3)]
)
def test_a_cut_off_file_gives_what_there_is_and_says_so(extract, data, tmp_path, name, frames):
    whole = (data / name).read_bytes()
    cut = tmp_path / f"cut{Path(name).suffix}"
    cut.write_bytes(whole[: len(whole) * 6 // 10])

    output = extract(cut)

    assert len(output.frames) == frames
    assert any(re.search(r"ends at 3\.0 s .* 5\.\d s", line) for line in output.summary["damage"])


def test_a_file_in_which_nothing_decodes_fails_as_damaged(extract, data, tmp_path):
    whole = bytearray((data / "edge/torchcodec_h265_10bits.mp4").read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start + 8 : whole.index(b"moov") - 8] = bytes(whole.index(b"moov") - start - 16)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole)

    with pytest.raises(Permanent, match=r"no frame of video\.mp4 could be decoded") as raised:
        extract(broken)

    assert raised.value.kind == "damaged"


@pytest.mark.parametrize("sample", ["fps", "count", "keyframes", "all"])
@pytest.mark.parametrize("start", [6, 60])
def test_a_start_after_the_end_of_the_video_fails_with_its_length(extract, data, sample, start):
    with pytest.raises(Permanent, match=r"is 5\.0 s long: nothing of it comes after") as raised:
        extract(data / "video/mdn_flower.mp4", sample=sample, start=start)

    assert raised.value.kind == "no_frames"


def test_no_keyframe_where_they_are_looked_for(extract, data):
    with pytest.raises(Permanent) as raised:
        extract(data / "neardup/mdn_elf.webm", sample="keyframes", start=2, end=4)

    assert raised.value.kind == "no_frames"


def test_an_attempt_that_was_given_up_stops(extract, data):
    given_up = Cancellation()
    given_up.requested = True
    with attempting(given_up), pytest.raises(Cancelled):
        extract(data / "video/mdn_flower.mp4")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"start": 5, "end": 5}, r"end \(5 s\) must be later than start \(5 s\)"),
        ({"start": 5, "end": 2}, "must be later than start"),
        ({"fps": 0}, "greater than 0"),
        ({"fps": float("nan")}, "fps"),
        ({"start": float("inf")}, "finite"),
        ({"sample": "some"}, "'fps', 'count', 'keyframes' or 'all'"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"quality": 96}, "less than or equal to 95"),
        ({"size": -1}, "greater than or equal to 0"),
        ({"frames": 3}, "Extra inputs"),
    ],
)
def test_impossible_settings_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        Extract.Settings(**settings)
