"""Frames that say odd things of themselves: their kind of side data, their matrix, their format."""

import gc
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stages.media.damage import Damage
from stages.media.pictures.rendering import Crop, Renderer, UnrenderableError, picture_size
from stages.media.video import decode_frames, open_video
from tests.stages.clips import MILLISECONDS

COLOURS = np.array([[200, 60, 120], [40, 220, 90], [250, 250, 10], [128, 128, 128]], np.uint8)


def corners(height: int = 48, width: int = 64) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.full((height, width, 3), 235, np.uint8)
    pixels[: height // 2, : width // 2] = 220, 30, 30
    pixels[: height // 2, width // 2 :] = 30, 200, 30
    pixels[height // 2 :, : width // 2] = 30, 30, 220
    return pixels


def write_jpegs(path: Path, orientation: int) -> None:
    """A video of JPEGs as cameras write them, with EXIF that says how they are to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = path.with_suffix(".jpg")
    Image.fromarray(corners()).save(picture, quality=95, exif=exif)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for time in (0, 40, 80):
            packet = av.Packet(picture.read_bytes())
            packet.stream, packet.time_base = stream, MILLISECONDS
            packet.pts = packet.dts = time
            packet.is_keyframe = True
            container.mux(packet)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_side_data_that_pyav_does_not_know_hides_no_other(tmp_path: Path, orientation: int) -> None:
    """EXIF is such a kind; how Pillow turns the picture is how it has to come out."""
    write_jpegs(tmp_path / "clip.avi", orientation)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    upright = Image.fromarray(corners())
    if orientation in turned:
        upright = upright.transpose(turned[orientation])

    with open_video(tmp_path / "clip.avi") as video:
        pictures = [Renderer(0).render(one.frame) for one in decode_frames(video, Damage())]

    assert len(pictures) == 3
    expected = np.asarray(upright)
    assert pictures[0].shape == expected.shape
    assert np.abs(pictures[0][:, :, ::-1].astype(int) - expected).mean() < 6


def to_ycgco(colours: np.ndarray, full: bool) -> np.ndarray:
    """Red, green, blue, (n, 3), as luma, green and orange difference (ITU-T H.273, 8.3)."""
    red, green, blue = colours.astype(float).T
    planes = np.stack(
        [green / 2 + (red + blue) / 4, green / 2 - (red + blue) / 4, (red - blue) / 2]
    )
    if full:
        return np.rint(planes + np.array([[0], [128], [128]]))
    scale, offset = np.array([[219], [224], [224]]) / 255, np.array([[16], [128], [128]])
    return np.rint(planes * scale + offset)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("colour", range(len(COLOURS)))
def test_ycgco_comes_out_in_its_colours(colour: int, full: bool) -> None:
    frame = av.VideoFrame(64, 48, "yuv444p")
    levels = to_ycgco(COLOURS[colour : colour + 1], full)[:, 0].astype(int)
    for plane, level in zip(frame.planes, levels.tolist(), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.color_range = 2 if full else 1
    frame.colorspace = 8

    found = Renderer(0).render(frame)[5, 5, ::-1]

    assert np.abs(found.astype(int) - COLOURS[colour]).max() <= 3


@pytest.mark.parametrize("form", ["yuv420p", "yuv444p10le", "gray", "gbrp", "yuva420p", "nv12"])
@pytest.mark.parametrize("matrix", range(20))
def test_every_matrix_gives_a_picture_or_says_that_it_cannot(form: str, matrix: int) -> None:
    frame = av.VideoFrame(64, 48, form)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.colorspace = matrix

    try:
        assert Renderer(32).render(frame).shape == (24, 32, 3)
    except UnrenderableError as error:
        assert matrix in (11, 13, 14, 15, 16, 17)
        assert form in str(error)


def test_every_pixel_format_gives_a_picture_or_says_that_it_cannot() -> None:
    """In a process of its own, which some formats would end."""
    program = """
import av, av.video.format
from stages.media.pictures.rendering import Renderer, UnrenderableError
for name in sorted(av.video.format.names):
    try:
        frame = av.VideoFrame(64, 48, name)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
    except (ValueError, RuntimeError):
        continue  # lives in a device's memory
    try:
        assert Renderer(32).render(frame).shape == (24, 32, 3)
    except UnrenderableError as error:
        print(name, "|", error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path.cwd(),
    )

    assert (run.returncode, run.stderr) == (0, "")
    refused = [line.split(" | ")[0] for line in run.stdout.splitlines()]
    assert not {"yuv420p", "rgb24", "gray", "gbrpf32le", "yuv444p16le", "pal8"} & set(refused)


@pytest.mark.parametrize(
    ("crop", "size", "shape"),
    [
        (Crop(0, 0, 0, 0), 0, (48, 64)),
        (Crop(8, 4, 16, 12), 0, (32, 40)),
        (Crop(0, 12, 0, 12), 32, (12, 32)),
        (Crop(40, 0, 40, 0), 0, (48, 64)),  # nothing would be left: not meant
    ],
)
def test_what_the_container_crops_is_not_shown(crop: Crop, size: int, shape: tuple) -> None:
    pixels = np.full((48, 64, 3), 255, np.uint8)
    pixels[crop.top : 48 - crop.bottom, crop.left : 64 - crop.right] = 90
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")

    found = Renderer(size, crop=crop).render(frame)

    assert found.shape == (*shape, 3)
    assert found[2:-2, 2:-2].max() == 90 if crop.left < 40 else 255


@pytest.mark.parametrize("size", [None, 0, 640])
@pytest.mark.parametrize(("width", "height"), [(60_000, 1), (1, 60_000), (16, 16)])
def test_no_picture_is_longer_than_a_jpeg_can_be(width: int, height: int, size: int | None) -> None:
    assert max(picture_size(width, height, Fraction(8), size)) <= 65_500


def test_a_rendered_frame_is_freed_without_python_looking_for_garbage() -> None:
    def alive() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    renderer = Renderer(None)
    pixels = np.zeros((48, 64, 3), np.uint8)
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(3):
            renderer.render(av.VideoFrame.from_ndarray(pixels, "rgb24"))
        assert alive() == before
    finally:
        gc.enable()
