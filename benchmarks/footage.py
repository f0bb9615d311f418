"""Video clips for benchmarks: made here, encoded once, and repeated without encoding again.

What is filmed is made up, but hard in the way of real footage: texture at every scale, a camera
that pans and zooms over it, things that cross it, and sensor noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

RATE = 30
"""Frames a second."""

SECONDS = 10
"""The length of a clip before it is repeated."""

Picture = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class FootageFormat:
    """How a clip is encoded: the encoder's own defaults, apart from what makes it fast enough."""

    title: str
    width: int
    height: int
    encoder: str
    suffix: str
    options: dict[str, str] = field(default_factory=dict)


ENCODINGS = {
    "h264-720p": FootageFormat("H.264, 720p", 1280, 720, "libx264", ".mp4", {"preset": "fast"}),
    "h264-1080p": FootageFormat(
        "H.264, 1080p", 1920, 1080, "libx264", ".mp4", {"preset": "veryfast"}
    ),
    "vp9": FootageFormat(
        "VP9, 720p", 1280, 720, "libvpx-vp9", ".webm", {"cpu-used": "8", "row-mt": "1", "crf": "33"}
    ),
    "av1": FootageFormat("AV1, 720p", 1280, 720, "libsvtav1", ".mp4", {"preset": "10"}),
}
"""x264 takes three B-frames at most and 250 frames between keyframes, libvpx 128, SVT-AV1 161."""


def encode(encoding: FootageFormat, path: Path, seconds: int = SECONDS) -> None:
    """Film and encode that many seconds. Raises av.FFmpegError where the encoder is not there."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoding.encoder, RATE, options=encoding.options)
        stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, "yuv420p"
        stream.codec_context.thread_count = 0
        for picture in film(encoding.width, encoding.height, seconds * RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())


def repeat(clip: Path, times: int, path: Path, seconds: int = SECONDS) -> None:
    """Write the clip, which is that long, so many times in a row, as it is encoded."""
    with av.open(str(path), "w") as container:
        copy: Any = None
        for turn in range(times):
            with av.open(str(clip)) as source:
                stream: Any = source.streams.video[0]
                copy = copy or container.add_stream_from_template(stream, opaque=True)
                shift = round(turn * seconds / stream.time_base)
                for packet in source.demux(stream):
                    if packet.size:
                        packet.pts += shift
                        packet.dts += shift
                        packet.stream = copy
                        container.mux(packet)


def film(width: int, height: int, frames: int) -> Iterator[Picture]:
    """Pictures of shape (height, width, 3), the same every time."""
    rng = np.random.default_rng(0)
    scene = _texture(rng, int(width * 1.6), int(height * 1.6))
    side = height // 4
    things = [_texture(rng, side, side) for _ in range(5)]
    noise = [rng.normal(0, 2, (height, width, 3)).astype(np.int8) for _ in range(7)]
    for index in range(frames):
        zoom = 1 + 0.15 * np.sin(index / 80)
        left = 0.25 * width * (1 + np.sin(index / 90))
        top = 0.25 * height * (1 + np.cos(index / 70))
        camera = np.array([[1 / zoom, 0, left], [0, 1 / zoom, top]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture: Any = cv2.warpAffine(scene, camera, (width, height), flags=flags)
        for number, thing in enumerate(things):
            x = int((width - side) * (0.5 + 0.5 * np.sin(index / (25 + 9 * number) + number)))
            y = int((height - side) * (0.5 + 0.5 * np.cos(index / (31 + 7 * number) + 2 * number)))
            picture[y : y + side, x : x + side] = thing
        yield cv2.add(picture, noise[index % len(noise)], dtype=cv2.CV_8U)  # type: ignore[misc]


def _texture(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Noise at four scales, the coarser the stronger, as in natural images."""
    total = np.full((height, width, 3), 110, np.float32)
    for scale in (4, 16, 64, 256):
        coarse = rng.normal(size=(height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += fine * (2.2 * scale**0.5)
    return np.clip(total, 0, 255).astype(np.uint8)
