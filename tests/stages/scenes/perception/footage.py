"""A video of which is known what it shows and what is heard, and the models that ship."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stages.demo.shapes import IMAGE_SIZE, WEIGHTS, Shape, draw, texture

CAPTIONER = WEIGHTS.with_name("captioner")
TAGGER = WEIGHTS.with_name("tagger")

RATE = 10
CUT = 20
LENGTH = 50

WITH_OBJECTS: dict[str, Any] = {
    "weights": str(WEIGHTS),
    "image_size": IMAGE_SIZE,
    "runtime": "torch",
    "device": "cpu",
}


def shown(number: int) -> list[Shape]:
    """Until the cut a circle that moves left of a triangle, and then two squares, one of which
    goes."""
    if number < CUT:
        return [
            Shape("circle", "red", 130 + 4 * number, 180, 65),
            Shape("triangle", "blue", 500, 190, 70),
        ]
    left = [Shape("square", "blue", 150, 180, 75, 45)]
    return left if number >= 40 else [*left, Shape("square", "green", 460, 180, 75, 45)]


def heard(second: float) -> Any:
    """50 ms from that second on: a tone until the cut, then noise. As 16 kHz, -1 to 1."""
    at = second + np.arange(800) / 16_000
    if second < CUT / RATE:
        return 0.5 * np.sin(2 * np.pi * 440 * at)
    return np.random.default_rng(round(second * 100)).uniform(-0.2, 0.2, len(at))


def shapes_video(path: Path, sound: Callable[[float], Any] | None = None) -> Path:
    """Writes the video, with that sound, or none."""
    backgrounds = [texture(640, 360, seed=seed) for seed in (3, 9)]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        track = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for number in range(LENGTH):
            picture = np.asarray(draw(backgrounds[number >= CUT], shown(number)))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        for step in range(LENGTH * 20 // RATE) if track is not None and sound else ():
            samples = sound(step / 20).astype(np.float32)[None, :]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
            frame.pts = step * 800
            container.mux(track.encode(frame))
        container.mux([*video.encode(), *(track.encode() if track is not None else ())])
    return path
