"""A decoded frame's sharpness and brightness, and its quality as a copy."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILES = 8
"""Rows and columns of the grid over a frame in which clarity is measured."""

HARD = 200
"""A larger value of the Laplacian is an edge of letters or lines drawn over
a picture: lenses make few."""

FEW_HARD = 1e-4
"""The share of hard edges up to which a frame counts as having nothing drawn over it."""

COLOUR = 2.5
"""The least deviation of chroma, in levels of 255, from the usual chroma at the same brightness, in
a coloured frame. Grey and sepia stay under it: there one tint goes with each brightness."""


@dataclass(frozen=True, slots=True)
class Quality:
    """`sharpness` 0 (flat or blurred) and up, with no fixed top; `brightness` 0 black to 255."""

    sharpness: float
    brightness: float


def measure(image: "NDArray[np.uint8]") -> Quality:
    """The quality of an image of shape (height, width, 3), BGR, 0 to 255.

    Brightness is the mean luma, Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Sharpness is the
    variance of its Laplacian, 3 by 3 with four neighbours: Pech-Pacheco, Cristobal,
    Chamorro-Martinez and Fernandez-Valdivia, "Diatom autofocusing in brightfield microscopy: a
    comparative study", ICPR 2000. It grows with the image's size, detail and noise, so choose a
    lower limit by looking at a few frames of your own.
    """
    import cv2

    luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # Its values lie in -1020 to 1020: 16 bits hold them exactly.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    return Quality(sharpness=float(deviation[0, 0]) ** 2, brightness=float(cv2.mean(luma)[0]))


@dataclass(frozen=True, slots=True)
class Looks:
    """A frame's quality as a copy, in coarse steps: an edit that adds nothing seldom changes one.

    `colour` is whether the frame has colours rather than shades of one. `clarity` rises by four for
    each doubling of the fine detail in the middle of the frame, relative to its contrast. `painted`
    rises by one for each doubling of the share of edges too hard to come from a lens.
    """

    colour: bool
    clarity: int
    painted: int


def look(image: "NDArray[np.uint8]") -> Looks:
    """The looks of an image of shape (height, width, 3), BGR, 0 to 255.

    The sharpness of `measure` grows with things drawn over a picture, and with contrast. So clarity
    is the variance of the Laplacian over that of the luma, taken in the middle half of the width
    and height, which seldom holds a logo, a border or a caption.
    """
    import cv2
    import numpy as np

    luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    laplacian = np.asarray(cv2.Laplacian(luma, cv2.CV_16S), np.int16)
    hard = float((abs(laplacian) > HARD).mean())
    return Looks(
        colour=_stray_chroma(image) >= COLOUR,
        clarity=_clarity(luma, laplacian),
        painted=math.floor(math.log2(max(hard, FEW_HARD) / FEW_HARD)),
    )


def _clarity(luma: "NDArray[np.uint8]", laplacian: "NDArray[np.int16]") -> int:
    """The mean over the tiles in the middle, not over their pixels: one
    tile of letters counts as one."""
    import numpy as np

    height, width = (size // TILES for size in luma.shape)
    tiles = [np.s_[:, :]]  # an image smaller than the grid
    if height and width:
        middle = range(TILES // 4, TILES - TILES // 4)
        tiles = [
            np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row in middle
            for column in middle
        ]
    # A constant in both, so that the noise of a flat tile is no detail.
    ratios = [(_variance(laplacian[tile]) + 1) / (_variance(luma[tile]) + 20) for tile in tiles]
    mean = sum(math.log2(ratio) for ratio in ratios) / len(ratios)
    return math.floor(round(4 * mean, 6))  # rounded, so that last bits change no step


def _variance(values: "NDArray[np.integer[Any]]") -> float:
    """The variance, from sums of integers, which are the same in any order."""
    import numpy as np

    exact = values.astype(np.int64)
    count, total = exact.size, int(exact.sum())
    return (count * int((exact * exact).sum()) - total * total) / (count * count)


def _stray_chroma(image: "NDArray[np.uint8]") -> float:
    """The deviation of the chroma, in levels, from the mean chroma of equally bright pixels."""
    import cv2
    import numpy as np

    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    pixels = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb).reshape(-1, 3).astype(np.int64)
    brightness = pixels[:, 0] // 8
    stray = 0.0
    for level in np.unique(brightness):
        for chroma in pixels[brightness == level, 1:].T:
            stray += _variance(chroma) * len(chroma)
    return math.sqrt(stray / len(pixels))
