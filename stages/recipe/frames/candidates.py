"""Candidate frames of a short video: decoded once, each kept as a JPEG with its look."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import checkpoint
from stages.media.packets.wanted_frames import decode_stretch
from stages.media.pictures.frame_quality import measure
from stages.media.pictures.rendering import Renderer, UnrenderableError, not_rendered
from stages.media.sampling import at_rate, exact_seconds, rounded
from stages.media.video import open_video
from stages.recipe.frames.choice import FrameLook

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = (24, 24)
"""Rows and columns of a look's small picture."""

MEASURED = 320
"""Pixels along the longer side of the picture whose sharpness is measured."""

MOST_PIXELS = 40_000_000


@dataclass(frozen=True, slots=True)
class FrameCandidate:
    """A frame that may be chosen: its look, its picture as a JPEG, and the picture's size."""

    look: FrameLook
    jpeg: bytes
    width: int
    height: int


def length_of(path: Path) -> float | None:
    """The seconds that the file says it lasts. Raises as `open_video` does."""
    with open_video(path, max_pixels=MOST_PIXELS) as video:
        declared = video.declared_duration
    return None if declared is None else float(declared)


def find_candidates(
    path: Path, fps: float, most: int, size: int, quality: int
) -> Iterator[FrameCandidate]:
    """The frames at `fps` a second, or fewer of a video in which that would be over `most`.

    Raises Permanent as `open_video` does, and where a frame cannot be made a picture.
    """
    length = length_of(path)
    step = 1 / exact_seconds(fps)
    if length is not None and length / float(step) > most:
        step = Fraction(length).limit_denominator(1000) / most
    renderer: Renderer | None = None
    for frame, time, video in decode_stretch(
        path, at_rate(1 / step, Fraction(0), None, None), MOST_PIXELS
    ):
        checkpoint()
        renderer = renderer or Renderer(size, crop=video.crop)
        try:
            picture = renderer.render(frame, video.aspects.of(frame))
        except UnrenderableError as error:
            raise not_rendered(path, error) from error
        height, width = picture.shape[:2]
        yield FrameCandidate(
            look_of(rounded(time), picture), _jpeg(picture, quality), width, height
        )


def look_of(time: float, picture: "NDArray[np.uint8]") -> FrameLook:
    """The look of a picture of shape (height, width, 3), BGR, shown at that second."""
    import cv2
    import imagehash
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(1.0, MEASURED / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = np.asarray(cv2.resize(picture, shape, interpolation=cv2.INTER_AREA), np.uint8)
    small: Any = cv2.resize(reduced, SMALL[::-1], interpolation=cv2.INTER_AREA)
    bits = imagehash.phash(Image.fromarray(reduced[:, :, ::-1])).hash
    return FrameLook(
        time,
        measure(reduced).sharpness,
        int.from_bytes(np.packbits(bits).tobytes(), "big"),
        np.asarray(small, np.float32) / np.float32(255),
    )


def _jpeg(picture: "NDArray[np.uint8]", quality: int) -> bytes:
    import cv2

    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
