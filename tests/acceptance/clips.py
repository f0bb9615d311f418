"""Small videos of shapes on textures, which the weights that ship with the project recognise."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from stages.demo.shapes import draw, random_shapes, texture

WIDTH, HEIGHT = 224, 126
"""Pixels of a clip: what the shipped weights are at their best on."""

RATE = 10
"""Frames a second of a clip."""


def make_clip(
    path: Path, scenes: Sequence[int], *, codec: str = "libx264", options: dict[str, str]
) -> Path:
    """A video that shows each of the scenes, unmoving, for half a second.

    A scene is a number that everything on it follows from: the same scene in another clip is a
    near-duplicate, and two scenes are nothing alike.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for scene in scenes:
            pixels = np.asarray(picture(scene))
            for _ in range(RATE // 2):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picture(scene: int) -> "np.typing.ArrayLike":
    """What a scene shows: at least one shape."""
    seed = scene * 1000
    while not (shapes := random_shapes(seed, WIDTH, HEIGHT)):
        seed += 1
    return draw(texture(WIDTH, HEIGHT, scene), shapes)


SHARP = {"preset": "ultrafast", "crf": "18"}
POOR = {"preset": "ultrafast", "crf": "30"}


def make_corpus(folder: Path, count: int, *, scenes: int = 4) -> list[Path]:
    """`count` clips; the last third of them are poor copies of the first, in another container."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = count - count // 3
    clips = [
        make_clip(
            folder / f"clip{number:03}.mp4",
            range(number * scenes, (number + 1) * scenes),
            options=SHARP,
        )
        for number in range(originals)
    ]
    copies = [
        make_clip(
            folder / f"clip{originals + number:03}.mkv",
            range(number * scenes, (number + 1) * scenes),
            options=POOR,
        )
        for number in range(count - originals)
    ]
    return clips + copies
