"""The times of extracted frames, in files whose timestamps are odd, wrong or of little help."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine import Item, Permanent
from tests.stages.clips import join, make_clip, moving_picture, restamp
from tests.stages.extracting import Output, run_extract

Run = Callable[..., Output]

FRAMES = 28
GRID = [index * 40 for index in range(FRAMES)]

H264 = {"x264-params": "keyint=20:bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"}
H264_ONLY_P = {"x264-params": "keyint=20:bframes=0:scenecut=0"}
HEVC = {"x265-params": "keyint=20:open-gop=0:log-level=none", "preset": "superfast"}

CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", H264),
    "h264 without B-frames": ("libx264", H264_ONLY_P),
    "hevc": ("libx265", HEVC),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "20", "qmin": "1", "qmax": "2"}),
    "vp8": ("libvpx", {"g": "20", "cpu-used": "8"}),
    "vp9": ("libvpx-vp9", {"g": "20", "cpu-used": "8"}),
}


@pytest.fixture
def extract(make_item: Callable[..., Item], tmp_path: Path) -> Run:
    """Runs the stage on a file."""

    def run(path: Path, **settings: object) -> Output:
        return run_extract(make_item, tmp_path, path, **settings)

    return run


def clip_of(path: Path, codec: str, times: list[int] | None = None, **options: object) -> Path:
    name, codec_options = CODECS[codec]
    return make_clip(path, times or GRID, codec=name, options=codec_options, rate=25, **options)


@pytest.fixture(params=CODECS)
def matroska(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return clip_of(tmp_path / "clip.mkv", request.param)


WRONG = {
    "one in the future": {13: 37_600_000},
    "one in the past": {9: -9_800_000},
    "the first": {0: 37_600_000},
    "several": {3: -9_800_000, 4: -9_800_000, 11: 5_000_000, 20: -1_000_000},
    "all early by more than a frame, now and then": dict.fromkeys(range(5, 27, 5), -60),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_stamp_moves_no_other_frame(extract, matroska, tmp_path, wrong):
    off = WRONG[wrong]
    clip = restamp(matroska, tmp_path / "odd.mkv", lambda _, ms: ms + off.get(round(ms / 40), 0))

    everything = extract(clip, sample="all")
    assert everything.numbers == list(range(FRAMES))
    assert all(
        abs(found - right) <= 40 for found, right in zip(everything.milliseconds, GRID, strict=True)
    )
    assert everything.summary["duration"] == pytest.approx(1.12, abs=0.04)
    assert len(extract(clip, sample="count", count=7).frames) == 7
    assert extract(clip, fps=5).numbers == [0, 5, 10, 15, 20, 25]
    assert extract(clip, fps=5, start=0.4, end=0.9).numbers == [10, 15, 20]
    notes = " ".join(extract(clip, fps=5).summary["damage"])
    assert ("not believed" in notes) == (min(map(abs, off.values())) > 1000)
    assert "cut off" not in notes


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4"])
def test_decoding_times_for_presentation_times_leave_the_order_of_the_decoder(
    extract, tmp_path, codec, suffix
):
    if suffix == ".flv" and codec != "h264":
        pytest.skip("FLV has no such codec")
    source = clip_of(tmp_path / "clip.mkv", codec)
    clip = tmp_path / f"odd{suffix}"
    with av.open(str(source)) as container, av.open(str(clip), "w") as copy:
        stream = container.streams.video[0]
        copied = copy.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        for index, packet in enumerate(packets):
            packet.pts = packet.dts = index * 40
            packet.stream = copied
            copy.mux(packet)

    everything = extract(clip, sample="all")
    assert everything.numbers == list(range(FRAMES))
    assert everything.milliseconds == GRID
    assert everything.summary["damage"] == []
    assert extract(clip, fps=5).numbers == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("codec", [*CODECS, "mjpeg"])
@pytest.mark.parametrize("cut", [12, -25])
def test_an_edit_that_begins_between_keyframes_begins_at_0(
    extract, tmp_path, monkeypatch, codec, cut
):
    """As phones write trimmed videos: from the frame `cut` on, or with a pause before the first."""
    if codec == "vp8":
        pytest.skip("MP4 has no VP8")
    monkeypatch.setitem(CODECS, "mjpeg", ("mjpeg", {}))
    clip = clip_of(
        tmp_path / "clip.mp4",
        codec,
        [ms - cut * 40 for ms in GRID],
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )
    left = list(range(max(0, cut), FRAMES))

    everything = extract(clip, sample="all")
    assert everything.numbers == left
    assert everything.milliseconds == GRID[: len(left)]
    assert everything.summary["duration"] == pytest.approx(len(left) / 25)
    assert everything.summary["damage"] == []
    assert extract(clip, fps=5).numbers == left[::5]
    assert extract(clip, fps=5, start=0.2, end=0.5).numbers == left[5:15:5]


def test_an_edit_begins_at_0_where_all_has_to_be_decoded_too(extract, tmp_path):
    clip = clip_of(
        tmp_path / "clip.mp4",
        "h264",
        [ms - 480 for ms in GRID],
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
        picture=lambda index: np.full((48, 64, 3), 16 + 8 * index, np.uint8),
    )
    with av.open(str(clip)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    broken = bytearray(clip.read_bytes())
    position, size = packets[-3]
    broken[position + 5 : position + size] = bytes(size - 5)
    clip.write_bytes(broken)

    output = extract(clip, fps=5)

    assert output.summary["damage"] != []
    assert output.numbers[:2] == [12, 17]
    assert output.milliseconds[:2] == [0, 200]


def test_the_first_frame_that_decodes_is_at_0(extract, tmp_path):
    """Cut out of a longer stream at a keyframe that frames shown before it lead up to."""
    options = {"x265-params": "keyint=12:min-keyint=12:open-gop=1:log-level=none:scenecut=0"}
    source = make_clip(
        tmp_path / "clip.ts", GRID, codec="libx265", options=options, rate=25, size=(64, 64)
    )
    clip = tmp_path / "cut.ts"
    with av.open(str(source)) as container, av.open(str(clip), "w") as copy:
        stream = container.streams.video[0]
        copied = copy.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        second = next(i for i, packet in enumerate(packets) if i and packet.is_keyframe)
        assert any(p.pts < packets[second].pts for p in packets[second:])
        for packet in packets[second:]:
            packet.stream = copied
            copy.mux(packet)

    everything = extract(clip, sample="all")
    first = everything.numbers[0]
    assert first >= 12
    assert everything.milliseconds == GRID[: FRAMES - first]
    assert everything.summary["damage"] == []
    late = extract(clip, fps=5, start=0.2)
    assert late.numbers == list(range(first + 5, FRAMES, 5))


@pytest.mark.parametrize("back", [500, 20_000, 3_600_000])
def test_a_second_recording_follows_on(extract, tmp_path, back):
    times = [3_700_000 + ms for ms in GRID]
    first = clip_of(tmp_path / "a.ts", "h264", times)
    second = clip_of(tmp_path / "b.ts", "h264", [ms - back for ms in times])
    clip = join(tmp_path / "joined.ts", first, second)

    output = extract(clip, sample="all")

    assert output.numbers == [*range(FRAMES)] * 2
    assert output.milliseconds == [index * 40 for index in range(2 * FRAMES)]
    assert output.summary["duration"] == pytest.approx(2.24)
    assert "1 jump back in the timestamps, at 1.1 s" in output.summary["damage"]
    assert len(extract(clip, sample="count", count=14).frames) == 14
    assert extract(clip, fps=5, start=1.2, end=2).numbers == [2, 7, 12, 17]


def test_a_clock_that_runs_over_goes_on(extract, tmp_path):
    begin = (1 << 33) // 90 - 500
    clip = clip_of(tmp_path / "clip.ts", "h264", [begin + ms for ms in GRID])

    output = extract(clip, sample="all")

    assert output.numbers == list(range(FRAMES))
    assert output.milliseconds == pytest.approx(GRID, abs=1)


@pytest.mark.parametrize("end", [None, 500])
def test_a_count_is_spread_over_the_frames_and_not_over_a_gap(extract, tmp_path, end):
    times = [*GRID[:14], *(1_000_000 + ms for ms in GRID[14:])]
    clip = clip_of(tmp_path / "clip.ts", "h264", times)

    output = extract(clip, sample="count", count=7, end=end)

    assert len(set(output.numbers)) == 7
    assert output.milliseconds == [times[number] for number in output.numbers]
    assert output.numbers[0] <= 2
    assert output.numbers[-1] == 13 if end else output.numbers[-1] >= 25


def test_the_length_is_the_last_time_shown_where_packets_do_not_tell(extract, tmp_path):
    """Chunks of an AVI that hold nothing: the frame before them is shown for longer."""
    clip = clip_of(
        tmp_path / "clip.avi", "h264", [*range(0, 10), *range(30, 40)], time_base=Fraction(1, 25)
    )

    output = extract(clip, sample="count", count=4)

    assert output.summary["duration"] == pytest.approx(1.6)
    assert output.milliseconds[-1] > 1200


def test_there_are_frames_at_2000_a_second(extract, tmp_path):
    clip = make_clip(
        tmp_path / "fast.mkv",
        list(range(FRAMES)),
        time_base=Fraction(1, 2000),
        rate=2000,
        options=H264,
    )

    output = extract(clip, sample="count", count=7)

    assert len(set(output.numbers)) == 7
    assert output.summary["duration"] == pytest.approx(0.014, abs=0.002)


def test_what_only_the_first_packet_says_is_there_after_a_late_start(extract, tmp_path):
    """The header has another encoder's parameters, so that a decoder needs those of packet 0."""
    first, other = (
        make_clip(
            tmp_path / f"{name}.mp4",
            range(300),
            time_base=Fraction(1, 25),
            rate=25,
            options={"x264-params": f"keyint=50:bframes=0:scenecut=0:{parameters}"},
            size=(160, 96),
            picture=moving_picture,
        )
        for name, parameters in (("a", "cabac=1:ref=1"), ("b", "cabac=0:ref=3"))
    )
    clip = tmp_path / "odd.mp4"
    with av.open(str(first)) as a, av.open(str(other)) as b, av.open(str(clip), "w") as copy:
        copied = copy.add_stream_from_template(b.streams.video[0])
        stream = a.streams.video[0]
        header = stream.codec_context.extradata
        size = int.from_bytes(header[6:8], "big")
        units = [header[8 : 8 + size], header[11 + size :]]  # ISO/IEC 14496-15, 5.3.3.1
        size = int.from_bytes(header[9 + size : 11 + size], "big")
        units[1] = units[1][:size]
        for packet in a.demux(stream):
            if not packet.size:
                continue
            if packet.pts == 0:
                data = b"".join(len(u).to_bytes(4, "big") + u for u in units) + bytes(packet)
                begin = av.Packet(data)
                begin.pts, begin.dts, begin.time_base = packet.pts, packet.dts, packet.time_base
                begin.duration, begin.is_keyframe = packet.duration, True
                packet = begin
            packet.stream = copied
            copy.mux(packet)

    late = extract(clip, fps=2, start=10.4)
    whole = extract(clip, sample="all", start=5)

    times = {frame["timestamp"]: frame["file"] for frame in whole.frames}
    assert late.milliseconds == [10_400, 10_880, 11_400, 11_880]
    assert late.summary["damage"] == []
    for frame in late.frames:
        found = (late.folder / "frames" / frame["file"]).read_bytes()
        assert found == (whole.folder / "frames" / times[frame["timestamp"]]).read_bytes()


def test_damage_after_a_seek_is_looked_at_from_the_beginning(extract, tmp_path):
    clip = make_clip(
        tmp_path / "clip.mp4",
        range(300),
        time_base=Fraction(1, 25),
        rate=25,
        options={"x264-params": "keyint=50:bframes=0:scenecut=0"},
        size=(160, 96),
        picture=moving_picture,
    )
    with av.open(str(clip)) as container:
        position, size = next(
            (p.pos, p.size) for p in container.demux(video=0) if p.pts == 270 * 512
        )
    broken = bytearray(clip.read_bytes())
    broken[position + 10 : position + size] = bytes(size - 10)
    clip.write_bytes(broken)

    late = extract(clip, fps=5, start=10.4)
    early = extract(clip, fps=5, start=9)

    assert late.summary["damage"] == early.summary["damage"] != []
    assert late.milliseconds == early.milliseconds[-len(late.frames) :]
    for frame in late.frames:
        name = f"frames/{frame['file']}"
        assert (late.folder / name).read_bytes() == (early.folder / name).read_bytes()


@pytest.mark.parametrize("mark", [0, 0x10], ids=["none", "all"])
@pytest.mark.parametrize("codec", ["h264", "mpeg4", "vp8"])
def test_where_the_container_is_no_guide_keyframes_are_the_decoder_s(
    extract, tmp_path, codec, mark
):
    clip = clip_of(tmp_path / "clip.avi", codec, list(range(FRAMES)), time_base=Fraction(1, 25))
    expected = extract(clip, sample="keyframes").numbers
    data = bytearray(clip.read_bytes())
    index = data.rindex(b"idx1")
    for entry in range(
        index + 8, index + 8 + int.from_bytes(data[index + 4 : index + 8], "little"), 16
    ):
        data[entry + 4 : entry + 8] = mark.to_bytes(4, "little")
    (tmp_path / "odd.avi").write_bytes(data)

    output = extract(tmp_path / "odd.avi", sample="keyframes")

    assert output.numbers == expected
    assert 1 < len(expected) < FRAMES
    assert all(frame["keyframe"] for frame in output.frames)
    assert extract(tmp_path / "odd.avi", fps=5).numbers == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("share", [1, 0.55])
def test_sound_that_goes_on_after_the_picture_is_no_damage(extract, tmp_path, share):
    """But a file that ends before its header says so is cut off, with sound or without."""
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        for index in range(150):
            frame = av.VideoFrame.from_ndarray(moving_picture(index), format="rgb24")
            container.mux(video.encode(frame))
            if index % 25 == 0:
                silence = av.AudioFrame.from_ndarray(
                    np.zeros((1, 32000), np.float32), format="fltp", layout="mono"
                )
                silence.sample_rate = 16000
                container.mux(sound.encode(silence))
        container.mux(video.encode())
        container.mux(sound.encode())
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * share)])

    damage = extract(clip).summary["damage"]

    assert any("cut off" in note for note in damage) == (share < 1)
    if share == 1:
        assert damage == []


def test_a_start_after_the_end_says_how_long_the_video_is(extract, matroska, tmp_path):
    clip = restamp(matroska, tmp_path / "odd.mkv", lambda i, ms: ms + (10**7 if i == 9 else 0))

    with pytest.raises(Permanent, match=r"is 1\.1 s long: nothing of it comes after"):
        extract(clip, start=2)
