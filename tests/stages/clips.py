"""Small clips made with PyAV, in which a frame's brightness tells which frame it is."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

STEP = 8
"""Levels of grey between one frame and the next; the first is at 16."""

PATIENCE = 25.0
"""Seconds for a clip by SVT-AV1, which takes less than one."""

TRIES = 3

MILLISECONDS = Fraction(1, 1000)

SCENE = np.kron(
    np.random.default_rng(7).integers(0, 255, (20, 32, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)
"""What moving pictures are cut out of."""


def make_clip(
    path: Path,
    times: Sequence[int],
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 48),
    pixel_format: str = "yuv420p",
    time_base: Fraction = MILLISECONDS,
    aspect: Fraction | None = None,
    rate: int | None = None,
    prepare: Callable[[VideoStream], object] = lambda stream: None,
    picture: Callable[[int], np.ndarray] | None = None,
) -> Path:
    """Write a clip whose frame i is shown at times[i] ticks: evenly grey, at level 16 + 8 i."""
    width, height = size

    def write() -> None:
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=rate or 1000, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            stream.time_base = time_base
            stream.codec_context.time_base = time_base
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            prepare(stream)
            for index, time in enumerate(times):
                level = min(255, 16 + STEP * index)
                pixels = (
                    picture(index)
                    if picture
                    else np.full((height, width, 3), level, dtype=np.uint8)
                )
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = time, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    if codec == "libsvtav1":
        _written_by_svt(path, write)
    else:
        write()
    return path


def _written_by_svt(path: Path, write: Callable[[], None]) -> None:
    """Have the clip written in a thread that can be left, and begin anew if it takes too long.

    Now and then SVT-AV1 waits for itself for ever, in C, where no time limit of a test reaches it.
    """
    for _ in range(TRIES):
        path.unlink(missing_ok=True)
        written: Future[None] = Future()
        threading.Thread(target=_fulfil, args=(written, write), daemon=True).start()
        with suppress(TimeoutError):
            return written.result(PATIENCE)
    raise TimeoutError(f"SVT-AV1 did not write {path} in {TRIES} tries of {PATIENCE:g} seconds")


def _fulfil(written: Future[None], write: Callable[[], None]) -> None:
    try:
        write()
    except BaseException as error:  # raised again in the test's own thread
        written.set_exception(error)
    else:
        written.set_result(None)


def frame_number(pixels: np.ndarray) -> int:
    """Which frame of such a clip this is, from its pixels."""
    return round((float(np.mean(pixels)) - 16) / STEP)


def moving_picture(index: int) -> np.ndarray:
    """A picture of 160x96 with enough in it, and enough change, for real motion and B-frames."""
    x, y = int(48 + 47 * np.sin(index / 7)), int(32 + 31 * np.cos(index / 11))
    picture = SCENE[y : y + 96, x : x + 160].copy()
    picture[30:60, (index * 5) % 120 : (index * 5) % 120 + 40] = (index * 11) % 255
    return picture


def restamp(source: Path, target: Path, stamp: Callable[[int, int], int]) -> Path:
    """Copy a Matroska clip, with other timestamps: stamp(packet, milliseconds) is a packet's.

    Matroska stores presentation times only, and any: those here count from 20,000 s.
    """
    with av.open(str(source)) as container, av.open(str(target), "w") as copy:
        stream = container.streams.video[0]
        copied = copy.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        for index, packet in enumerate(packets):
            packet.pts, packet.dts = 20_000_000 + stamp(index, packet.pts), index
            packet.stream = copied
            copy.mux(packet)
    return target


def join(target: Path, *parts: Path) -> Path:
    """Transport streams one after the other in one file, as a receiver appends recordings."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target
