"""How sharp and how bright a decoded frame is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quality:
    """`sharpness` 0 (flat or blurred) and up, with no fixed top; `brightness` 0 black to 255."""

    sharpness: float
    brightness: float


def measure(image: "NDArray[np.uint8]") -> Quality:
    """The quality of an image of shape (height, width, 3), BGR, 0 to 255.

    Brightness is the mean luma, Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Sharpness is the
    variance of its Laplacian, 3 by 3 with four neighbours: Pech-Pacheco, Cristobal, Chamorro-
    Martinez and Fernandez-Valdivia, "Diatom autofocusing in brightfield microscopy: a comparative
    study", ICPR 2000. It grows with the image's size, detail and noise, so a floor for it is set by
    looking at a few frames of one's own.
    """
    import cv2

    luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # Its values lie in -1020 to 1020: 16 bits hold them exactly.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    return Quality(sharpness=float(deviation[0, 0]) ** 2, brightness=float(cv2.mean(luma)[0]))
