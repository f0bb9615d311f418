"""Opening, decoding and rendering video."""

import errno
import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from engine import Permanent
from stages.media.damage import Damage
from stages.media.pictures.rendering import Renderer, picture_size, write_jpeg
from stages.media.video import decode_frames, open_video
from tests.stages.clips import frame_number, make_clip

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (235, 235, 235)


def corners(height: int = 32, width: int = 48) -> np.ndarray:
    """A picture with red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    halves = [(slice(None, height // 2)), (slice(height // 2, None))]
    sides = [(slice(None, width // 2)), (slice(width // 2, None))]
    for row, column, colour in ((0, 0, RED), (0, 1, GREEN), (1, 0, BLUE), (1, 1, WHITE)):
        pixels[halves[row], sides[column]] = colour
    return pixels


def quadrants(pixels: np.ndarray) -> np.ndarray:
    """The colours in the middle of each quarter of a picture, as integers: (2, 2, 3)."""
    height, width, _ = pixels.shape
    return pixels[height // 4 :: height // 2, width // 4 :: width // 2].astype(int)


def first_picture(path: Path, size: int | None = None) -> np.ndarray:
    """The first frame as rendered, in red, green, blue."""
    with open_video(path) as video:
        shown = next(decode_frames(video, Damage()))
        return Renderer(size, video.stream.sample_aspect_ratio).render(shown.frame)[:, :, ::-1]


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_come_out_upright(tmp_path, degrees, mirrored):
    expected = np.rot90(corners(), degrees // 90)  # both count counter-clockwise
    expected = expected[:, ::-1] if mirrored else expected
    clip = make_clip(
        tmp_path / "clip.mov",
        [0],
        size=(48, 32),
        picture=lambda index: corners(),
        prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )

    found = first_picture(clip)

    assert found.shape == expected.shape
    assert np.abs(quadrants(found) - quadrants(expected)).max() < 12


def test_a_phone_s_video_is_upright(data):
    assert first_picture(data / "edge/decord_video_90.mov").shape == (568, 320, 3)
    assert first_picture(data / "edge/androidx_sample_portrait.mp4").shape == (1080, 720, 3)


@pytest.mark.parametrize(
    ("aspect", "shape"), [(Fraction(4, 3), (48, 85, 3)), (Fraction(1, 2), (48, 32, 3))]
)
def test_pixels_come_out_square(tmp_path, aspect, shape):
    clip = make_clip(tmp_path / "clip.mp4", [0, 40], aspect=aspect)

    assert first_picture(clip).shape == shape


@pytest.mark.parametrize(
    ("width", "height", "aspect", "size", "expected"),
    [
        (1280, 720, 1, 640, (640, 360)),
        (720, 1280, 1, 640, (360, 640)),
        (320, 240, 1, 640, (320, 240)),
        (1920, 1080, 1, None, (1920, 1080)),
        (1920, 1080, 1, 0, (1920, 1080)),
        (1440, 1080, Fraction(4, 3), 640, (640, 360)),
        (1, 1, 1, 640, (1, 1)),
        (4000, 1, 1, 640, (640, 1)),
        (641, 479, 1, 640, (640, 478)),
        (640, 480, 1000, None, (640, 480)),
    ],
)
def test_the_size_of_a_picture(width, height, aspect, size, expected):
    assert picture_size(width, height, Fraction(aspect), size) == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("edge/moviepy_bitmap.mp4", (1, 1, 3)),
        ("edge/torchcodec_h265_10bits.mp4", (200, 200, 3)),
        ("video/intel_people-detection.gif", (270, 480, 3)),
        ("video/intel_asl_eat.mkv", (480, 640, 3)),
        ("edge/androidx_sample_vvc.mp4", (180, 320, 3)),
    ],
)
def test_every_pixel_format_is_rendered(data, name, shape):
    found = first_picture(data / name)

    assert found.shape == shape
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("ffv1", "yuv444p"),
        ("ffv1", "yuv420p10le"),
        ("ffv1", "yuv422p"),
        ("ffv1", "gray"),
        ("ffv1", "bgra"),
        ("libx264", "yuvj420p"),
        ("gif", "rgb8"),
    ],
)
def test_odd_sizes_of_any_pixel_format_keep_their_brightness(tmp_path, codec, pixel_format):
    suffix = {"gif": ".gif", "ffv1": ".mkv"}.get(codec, ".mp4")
    size = (64, 50) if codec == "libx264" else (63, 47)
    base = Fraction(1, 100)
    clip = make_clip(
        tmp_path / f"clip{suffix}",
        [0, 10, 20],
        codec=codec,
        pixel_format=pixel_format,
        size=size,
        time_base=base,
        rate=10,
        picture=lambda index: np.full((size[1], size[0], 3), 219, np.uint8),
    )

    found = first_picture(clip)

    assert found.shape == (size[1], size[0], 3)
    assert abs(float(found.mean()) - 219) < 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["BT.601", "BT.709", "unsaid and small", "unsaid and HD"])
def test_colours_are_those_that_the_frame_says_it_has(matrix, full):
    """A flat colour through the formulas of ITU-R BT.601 and BT.709, and back by the renderer."""
    red, green, blue = 200, 60, 120
    luma_red, luma_blue = (
        (0.2126, 0.0722) if matrix in ("BT.709", "unsaid and HD") else (0.299, 0.114)
    )
    luma = luma_red * red + (1 - luma_red - luma_blue) * green + luma_blue * blue
    planes = (
        luma,
        (blue - luma) / (2 - 2 * luma_blue) + 128,
        (red - luma) / (2 - 2 * luma_red) + 128,
    )
    if not full:
        planes = (
            16 + luma * 219 / 255,
            128 + (planes[1] - 128) * 224 / 255,
            128 + (planes[2] - 128) * 224 / 255,
        )
    width, height = (1280, 720) if matrix == "unsaid and HD" else (64, 48)
    frame = av.VideoFrame(width, height, "yuv444p")
    for plane, level in zip(frame.planes, planes, strict=True):
        plane.update(bytes([round(level)]) * plane.buffer_size)
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    if matrix == "BT.709":
        frame.colorspace = Colorspace.ITU709
    elif matrix == "BT.601":
        frame.colorspace = Colorspace.ITU601

    found = Renderer(0).render(frame)[5, 5, ::-1]

    assert np.abs(found.astype(int) - (red, green, blue)).max() <= 3


def test_transparent_parts_are_black():
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[:2, :, 3], pixels[2:, :, 3] = 0, 255

    found = Renderer(0).render(av.VideoFrame.from_ndarray(pixels, format="rgba"))

    assert found[0].max() == 0
    assert found[3].min() == 200


def test_a_jpeg_is_the_same_bytes_every_time_and_any_reader_s(tmp_path):
    pixels = corners()[:, :, ::-1]

    write_jpeg(pixels, tmp_path / "a.jpg", 95)
    write_jpeg(pixels, tmp_path / "b.jpg", 95)
    write_jpeg(pixels, tmp_path / "c.jpg", 30)

    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    assert (tmp_path / "c.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size
    seen = np.asarray(Image.open(io.BytesIO((tmp_path / "a.jpg").read_bytes())))
    assert np.abs(quadrants(seen) - quadrants(corners())).max() < 12


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_told_as_it_is():
    with pytest.raises(OSError) as raised:
        write_jpeg(corners(), Path("/dev/full"), 90)

    assert raised.value.errno == errno.ENOSPC


def test_frames_without_presentation_times_go_by_the_frame_rate(tmp_path):
    clip = make_clip(
        tmp_path / "clip.h264",
        [index * 40 for index in range(10)],
        rate=25,
        options={"x264-params": "bframes=3:b-adapt=0"},
    )

    with open_video(clip) as video:
        shown = list(decode_frames(video, Damage()))
        assert [float(one.time) for one in shown] == pytest.approx([i * 0.04 for i in range(10)])
        assert [frame_number(Renderer(0).render(one.frame)) for one in shown] == list(range(10))


def test_b_frames_in_a_container_without_presentation_times_stay_in_order(tmp_path):
    clip = make_clip(
        tmp_path / "clip.avi",
        list(range(20)),
        time_base=Fraction(1, 25),
        rate=25,
        options={"x264-params": "bframes=3:b-adapt=0:b-pyramid=normal"},
    )
    damage = Damage()

    with open_video(clip) as video:
        shown = list(decode_frames(video, damage))
        assert [frame_number(Renderer(0).render(one.frame)) for one in shown] == list(range(20))
    assert damage.sentences() == []
    assert all(a.time < b.time for a, b in pairwise(shown))


def test_where_timestamps_run_back_the_time_goes_on(tmp_path):
    parts = [
        make_clip(tmp_path / name, [index * 40 for index in range(length)], rate=25)
        for name, length in (("a.ts", 25), ("b.ts", 20))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    damage = Damage()

    with open_video(joined) as video:
        shown = list(decode_frames(video, damage))

    assert len(shown) == 45
    assert all(a.until == b.time for a, b in pairwise(shown))
    assert float(shown[-1].until) == pytest.approx(45 * 0.04, abs=0.05)
    assert any("1 jump back in the timestamps, at 1.0 s" in line for line in damage.sentences())


def test_damage_is_counted_and_told_in_sentences():
    damage = Damage()
    for second in (1.25, 3, 2):
        damage.count("packet is bad", "packets are bad", Fraction(second))
    damage.count("frame is bad", "frames are bad", Fraction(7))
    damage.notes += ["the file is cut off", "the file is cut off"]

    assert damage.sentences() == [
        "3 packets are bad, first at 1.2 s",
        "1 frame is bad, at 7.0 s",
        "the file is cut off",
    ]


def codec_unknown(data: Path, path: Path) -> None:
    path.write_bytes((data / "neardup/mdn_elf.mp4").read_bytes().replace(b"avc1", b"evc1"))


def moov_missing(data: Path, path: Path) -> None:
    path.write_bytes((data / "edge/mp4parser_count-video.mp4").read_bytes()[:150_000])


def only_a_cover(data: Path, path: Path) -> None:
    """Music with a picture on its sleeve, which is a stream of video to FFmpeg."""
    cover = io.BytesIO()
    Image.new("RGB", (16, 16)).save(cover, "JPEG")
    text = b"\x00image/jpeg\x00\x03\x00" + cover.getvalue()
    body = b"APIC" + len(text).to_bytes(4, "big") + b"\x00\x00" + text
    size = len(body)
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    music = (data / "audio/mdn_t-rex-roar.mp3").read_bytes()
    if music.startswith(b"ID3"):
        music = music[10 + sum(byte << 7 * i for i, byte in enumerate(reversed(music[6:10]))) :]
    path.write_bytes(b"ID3\x03\x00\x00" + syncsafe + body + music)


def web_page(data: Path, path: Path) -> None:
    path.write_text("<html><body>Sign in to watch</body></html>\n" * 50)


def playlist(data: Path, path: Path) -> None:
    clip = data / "video/mdn_flower.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda data, path: path.touch(), "damaged", "is empty"),
        (web_page, "damaged", "cannot be read as video"),
        (moov_missing, "damaged", "cannot be read as video"),
        (playlist, "damaged", "cannot be read as video"),
        (lambda data, path: path.with_suffix(".txt").write_text("x"), "missing_file", "not there"),
        (codec_unknown, "undecodable_codec", "cannot decode"),
        (only_a_cover, "no_video", "no video in it"),
    ],
)
def test_what_cannot_be_opened_says_why_in_one_line(data, tmp_path, make, kind, says):
    path = tmp_path / "video.mp4"
    make(data, path)

    with pytest.raises(Permanent) as raised:
        open_video(path)

    assert raised.value.kind == kind
    assert says in raised.value.reason
    assert "video.mp4" in raised.value.reason
    assert str(tmp_path) not in raised.value.reason
    assert "\n" not in raised.value.reason


def test_text_is_not_video(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see\n" * 100)

    with pytest.raises(Permanent, match="has no video") as raised:
        open_video(tmp_path / "notes.txt")

    assert raised.value.kind == "no_video"


def test_the_stream_that_a_player_shows_is_taken(data):
    with open_video(data / "video/torchcodec_nasa_13013.mp4") as video:
        assert (video.stream.width, video.stream.height) == (480, 270)
        assert video.codec == "h264"


def test_a_title_in_no_known_encoding_is_no_obstacle(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", [0, 40])
    clip.write_bytes(clip.read_bytes().replace(b"VideoHandler", b"Vid\xe9oHandler"))

    assert first_picture(clip).shape == (48, 64, 3)
