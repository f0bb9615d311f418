"""The black bars at the sides of a picture, as of an old film in a wide frame."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DARK = 32
"""The brightest that a bar may be, 0 to 255: coders leave it not quite black."""

_SPOTS = 0.02
"""The share of a line that may be brighter all the same."""

_WIDEST = 0.36
"""The share of the picture that one bar takes at most: that of an upright video in a wide frame."""


def without_bars(frames: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """The part of the frames, shape (frames, height, width, 3), that is not bars in all of them.

    Bars lie on both sides and are equally wide; so the dark half of a picture is none. Frames that
    are dark all over stay as they are.
    """
    lit = frames.max(axis=(0, 3)) > _DARK
    if not lit.any():
        return frames
    across = _bar(lit.mean(axis=0))
    down = _bar(lit.mean(axis=1))
    height, width = lit.shape
    return frames[:, down : height - down, across : width - across]


def _bar(lit: "NDArray[np.float64]") -> int:
    """Lines of each of the two bars, by the share of each line's pixels that are lit."""
    import numpy as np

    shown = np.flatnonzero(lit > _SPOTS)
    if not shown.size:
        return 0
    return int(min(shown[0], len(lit) - 1 - shown[-1], int(len(lit) * _WIDEST)))
