"""Where TransNetV2 cuts a video: in windows of 100 frames, of which it judges the 50 in the
middle."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from engine import checkpoint
from stages.models.transnet import HEIGHT, WIDTH, WINDOW
from stages.scenes.cuts.black_bars import without_bars

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

THRESHOLD = 0.5
"""The chance from which on a frame counts as the last of a shot, as its authors have it."""

MARGIN = 25
"""Frames at each end of a window that are there to be seen, and are judged in another one."""

JUDGED = WINDOW - 2 * MARGIN

AHEAD = WINDOW - MARGIN
"""Frames that are read before the first is judged."""

LONGER_SIDE = 256
"""Pixels of a picture while it waits for its window: bars are looked for in pictures of a size."""


def begins_shot(
    pictures: Iterable["NDArray[np.uint8]"],
    chances: Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"],
    threshold: float = THRESHOLD,
    *,
    crop: bool = True,
) -> Iterator[bool]:
    """Whether a shot begins with each picture, in order, AHEAD of which are read in advance.

    `pictures` have shape (height, width, 3), in red, green, blue, all of one size, of which
    `chances` gets WINDOW as the network takes them. `crop` cuts off the black bars of a window.
    """
    ended = False
    for number, chance in enumerate(_judged(pictures, chances, crop)):
        ends = chance > threshold
        # A transition of several frames is one cut, at the first frame after it.
        yield ended and not ends and number > 0
        ended = ends


def _judged(
    pictures: Iterable["NDArray[np.uint8]"],
    chances: Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"],
    crop: bool,
) -> Iterator[float]:
    """The chance of each picture. Before the first and after the last, they are repeated."""
    window: list[NDArray[np.uint8]] = []
    for picture in pictures:
        window = window or [picture] * MARGIN
        window.append(picture)
        if len(window) == WINDOW:
            yield from chances(_seen(window, crop))[MARGIN : MARGIN + JUDGED].tolist()
            del window[:JUDGED]
    while len(window) > MARGIN:
        left = min(JUDGED, len(window) - MARGIN)
        padded = window + [window[-1]] * (WINDOW - len(window))
        yield from chances(_seen(padded, crop))[MARGIN : MARGIN + left].tolist()
        del window[:JUDGED]


def _seen(window: list["NDArray[np.uint8]"], crop: bool) -> "NDArray[np.uint8]":
    """The window as the network takes it: (WINDOW, HEIGHT, WIDTH, 3)."""
    import cv2
    import numpy as np

    checkpoint()
    frames = np.stack(window)
    if crop:
        frames = without_bars(frames)
    size = (WIDTH, HEIGHT)
    small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in frames]
    return np.stack(small).astype(np.uint8)


class Shrinker:
    """Makes the small pictures of one video's frames: all of the size that the first one gives."""

    def __init__(self) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        # The flags make it the same on every processor.
        self._method = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        self._size: tuple[int, int] | None = None

    def shrink(self, frame: "VideoFrame") -> "NDArray[np.uint8]":
        """The frame as `begins_shot` takes it."""
        import numpy as np

        if self._size is None:
            scale = min(1.0, LONGER_SIDE / max(frame.width, frame.height))
            self._size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        width, height = self._size
        scaled = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._method, threads=1
        )
        return np.asarray(scaled.to_ndarray(), np.uint8)
