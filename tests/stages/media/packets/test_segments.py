"""Decoding by segments: what is decoded, and that it gives what decoding all does, to the pixel."""

import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stages.crawl.extract import Extract
from stages.crawl.frame_choice import sampling_for
from stages.media.damage import Damage
from stages.media.packets.scan import scan_video
from stages.media.packets.segments import SegmentDecoder, SegmentError
from stages.media.packets.table import Action, PacketFlag, PacketTable, Segment
from stages.media.packets.wanted_frames import choose_frames, decode_whole, find_segments
from stages.media.sampling import every_frame
from stages.media.video import open_video
from tests.conftest import DATA
from tests.stages.clips import make_clip, moving_picture

EVERYTHING = every_frame(Fraction(0), None, False, None)
SETTINGS = [
    Extract.Settings(),
    Extract.Settings(fps=3, start=1.3, end=4),
    Extract.Settings(sample="count", count=4),
    Extract.Settings(sample="keyframes"),
]
ALL_FRAMES = Extract.Settings(sample="all")


Fingerprint = tuple[Fraction, bool, int]
"""Of a frame: time, whether it is a keyframe, and a checksum of every pixel as decoded."""


def checksum(frame: av.VideoFrame) -> int:
    return zlib.crc32(np.ascontiguousarray(frame.to_ndarray()))


def frames_of_whole(path: Path, settings: Extract.Settings, table=None) -> list[Fingerprint]:
    table = table or scan_video(path, Damage())
    with open_video(path) as video:
        picked = decode_whole(video, table, sampling_for(settings, table), Damage())
        return [(time, keyframe, checksum(frame)) for frame, time, keyframe in picked]


def segments_of(
    path: Path, settings: Extract.Settings
) -> tuple[PacketTable, dict[int, bool], list[Segment]]:
    table = scan_video(path, Damage(), keyframes_only=settings.sample == "keyframes")
    wanted = choose_frames(table, sampling_for(settings, table))
    return table, wanted, find_segments(table, wanted)


def frames_by_segments(
    path: Path, settings: Extract.Settings, threads: int = 1, hands: int = 1
) -> list[Fingerprint]:
    """By so many decoder threads, the segments dealt out to so many hands in turn."""
    table, wanted, segments = segments_of(path, settings)
    found = {}
    for hand in range(hands):
        with open_video(path, threads) as video:
            decoder = SegmentDecoder(video, table, table.only_keyframes(wanted))
            for segment in segments[hand::hands]:
                for frame, ticks in decoder.frames(segment):
                    found[ticks] = (table.seconds(ticks), wanted[ticks], checksum(frame))
    return [found[ticks] for ticks in wanted]


def assert_segments_change_nothing(
    path: Path, all_settings: list[Extract.Settings], threads: int = 1
) -> int:
    """Compare both ways over these settings; returns for how many there are segments."""
    in_segments = 0
    everything = frames_of_whole(path, ALL_FRAMES)
    for settings in all_settings:
        try:
            by_segments = frames_by_segments(path, settings, threads)
        except SegmentError:
            continue
        in_segments += 1
        times = {time for time, *_ in by_segments}
        assert by_segments == [frame for frame in everything if frame[0] in times]
        if settings.sample == "keyframes":
            assert by_segments == [frame for frame in everything if frame[1]]
        if len(segments_of(path, settings)[2]) > 1:
            assert by_segments == frames_by_segments(path, settings, hands=2)
        if settings == SETTINGS[1]:
            assert by_segments == frames_of_whole(path, settings)
    return in_segments


CLIPS = sorted(
    path.relative_to(DATA).as_posix()
    for folder in ("video", "neardup", "edge")
    for path in (DATA / folder).glob("*")
    if path.name not in ("moviepy_result.webm", "mp4parser_count-english-audio.mp4")
)


def slow_if_large(name: str) -> object:
    """A clip that takes seconds goes with the slow tests; many small ones stay."""
    path = DATA / name
    is_slow = path.exists() and (path.stat().st_size > 500_000 or "vvc" in name)
    return pytest.param(name, marks=pytest.mark.slow) if is_slow else name


@pytest.mark.parametrize(
    "name", [slow_if_large(name) for name in CLIPS or ["video/mdn_flower.mp4"]]
)
def test_segments_change_no_pixel_of_real_clips(data, name):
    in_segments = assert_segments_change_nothing(data / name, SETTINGS)

    table = scan_video(data / name, Damage())
    if table.codec == "h264" and len(table.times) > 60 and "corrupted" not in name:
        assert in_segments == len(SETTINGS)


H264 = {
    "b-pyramid": "bframes=5:b-pyramid=normal:b-adapt=0:keyint=30:weightp=2",
    "open groups": "open-gop=1:bframes=3:keyint=30",
    "intra refresh": "intra-refresh=1:keyint=30",
    "interlaced": "interlaced=1:keyint=30",
    "no B-frames": "bframes=0:keyint=30",
    "several slices": "slices=4:keyint=30",
    "repeated headers": "repeat-headers=1:keyint=30",
}
AV1 = {
    "low delay": "pred-struct=1",
    "forward keyframes": "irefresh-type=1",
    "film grain": "film-grain=20",
    "screen content": "scm=1",
    "reduced resolution": "resize-mode=3",
    "error resilient": "sframe-dist=12:pred-struct=1",
}
ENCODINGS = {f"h264 {name}": ("libx264", {"x264-params": it}) for name, it in H264.items()} | {
    "hevc open groups": ("libx265", {"x265-params": "keyint=30:log-level=none"}),
    "hevc closed groups": ("libx265", {"x265-params": "keyint=30:open-gop=0:log-level=none"}),
    "hevc temporal layers": (
        "libx265",
        {"x265-params": "keyint=30:temporal-layers=3:bframes=7:b-adapt=0:log-level=none"},
    ),
    "vp9": ("libvpx-vp9", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    "vp8": ("libvpx", {"g": "30", "cpu-used": "8"}),
    "vp9 layers": (
        "libvpx-vp9",
        {"g": "40", "auto-alt-ref": "2", "lag-in-frames": "25", "cpu-used": "5", "b": "100k"},
    ),
    "av1": ("libsvtav1", {"g": "30", "preset": "12"}),
    **{
        f"av1 {name}": ("libsvtav1", {"g": "30", "preset": "11", "svtav1-params": it})
        for name, it in AV1.items()
    },
    "mpeg4": ("mpeg4", {"bf": "2", "g": "14"}),
    "mpeg2": ("mpeg2video", {"bf": "2", "g": "14"}),
    "mjpeg": ("mjpeg", {}),
}

IN_SEGMENTS = {"mpeg4": 1, "mpeg2": 1}
"""For how many of the settings there are segments, where that is not all of them."""


@pytest.mark.parametrize(
    ("name", "threads"),
    [*((name, 1) for name in ENCODINGS), ("h264 b-pyramid", 3), ("hevc open groups", 3)],
)
def test_segments_change_no_pixel_however_the_video_is_encoded(tmp_path, name, threads):
    codec, options = ENCODINGS[name]
    clip = make_clip(
        tmp_path / "clip.mkv",
        range(120),
        time_base=Fraction(1, 25),
        codec=codec,
        options=options,
        size=(160, 96),
        rate=25,
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
        picture=moving_picture,
    )

    settings = [*SETTINGS, ALL_FRAMES]
    in_segments = assert_segments_change_nothing(clip, settings, threads)
    assert in_segments == IN_SEGMENTS.get(name, len(settings))


def test_a_stream_that_changes_its_parameters_is_decoded_whole(tmp_path):
    """Two recordings in one transport stream, of which the header knows only the first."""
    joined = tmp_path / "joined.ts"
    with av.open(str(joined), "w") as container:
        copy = None
        for number, parameters in enumerate(("cabac=1:ref=1", "cabac=0:ref=3")):
            part = make_clip(
                tmp_path / f"part{number}.ts",
                [9000 * number + index * 40 for index in range(100)],
                options={"x264-params": f"keyint=25:scenecut=0:{parameters}"},
                rate=25,
                size=(160, 96),
                picture=moving_picture,
            )
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                copy = copy or container.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.size:
                        packet.stream = copy
                        container.mux(packet)
    table = scan_video(joined, Damage())

    assert table.ordered
    assert table.intact
    assert sum(1 for flag in table.flags if flag & PacketFlag.RESET) == 8
    assert not table.steady
    assert table.plan({table.times[60]}) is None
    assert scan_video(part, Damage()).steady


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_packets_nobody_needs_are_not_decoded(tmp_path, suffix):
    clip = make_clip(
        tmp_path / f"clip{suffix}",
        [index * 40 for index in range(150)],
        options={"x264-params": "keyint=25:bframes=2:b-adapt=0:scenecut=0"},
        rate=25,
        size=(160, 96),
        picture=moving_picture,
    )
    table = scan_video(clip, Damage())
    first = min(table.times)
    second = next(time for time in sorted(table.times) if table.seconds(time) >= Fraction(21, 10))

    actions = table.plan({first, second})

    assert actions is not None
    assert sum(1 for flag in table.flags if flag & PacketFlag.RESET) == 6
    assert actions[0] == Action.DECODE
    assert set(actions[1:50]) == {Action.SKIP}, "the rest of the first group, and the second"
    assert actions[50:].count(Action.DECODE) == 1
    assert len(actions) < 60, "nothing after the last frame that is wanted"


def test_of_av1_keyframes_alone_nothing_else_is_looked_into_or_read(tmp_path):
    clip = make_clip(
        tmp_path / "clip.mp4",
        range(100),
        time_base=Fraction(1, 25),
        codec="libsvtav1",
        options={"g": "25", "preset": "12"},
        rate=25,
        size=(160, 96),
        picture=moving_picture,
    )

    table, wanted, segments = segments_of(clip, Extract.Settings(sample="keyframes"))

    assert not table.reads
    assert len(wanted) >= 4
    assert [segment.wanted for segment in segments] == [[time] for time in wanted]
    assert all(segment.actions == [Action.DECODE] for segment in segments)


def test_a_frame_that_is_not_there_is_missed(data):
    table = scan_video(data / "video/mdn_flower.mp4", Damage())
    hole = table.times.index(sorted(table.times)[30])
    table.times[hole] += 1
    settings = Extract.Settings(fps=1000)

    segments = find_segments(table, choose_frames(table, sampling_for(settings, table)))
    with open_video(data / "video/mdn_flower.mp4") as video, pytest.raises(SegmentError):
        decoder = SegmentDecoder(video, table)
        for segment in segments:
            list(decoder.frames(segment))


def test_seeking_gives_the_frames_that_decoding_from_the_beginning_gives(data):
    path = data / "video/intel_one-by-one-person-detection.mp4"
    settings = Extract.Settings(sample="all", start=100.5, end=102)
    table = scan_video(path, Damage(), Fraction(201, 2), Fraction(102))
    whole = frames_of_whole(path, Extract.Settings(sample="all", end=102))

    assert table.seek is not None
    assert len(table.times) < 40
    found = frames_of_whole(path, settings, table)
    assert found == [frame for frame in whole if frame[0] >= settings.start]
    assert len(found) == 15
