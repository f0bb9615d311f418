"""Where PySceneDetect cuts a video, frame by frame, on pictures of the size that it works on."""

from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from engine import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["adaptive", "content", "threshold", "hash", "histogram"]

INSTALL = "pip install 'penstock[scenes]'"


class CutDetector:
    """One of PySceneDetect's detectors, for one video.

    `threshold` None is the detector's own default. No scene is shorter than `min_length` seconds.
    Raises UsageError where PySceneDetect is missing.
    """

    def __init__(
        self, method: Method, threshold: float | None, min_length: Fraction, rate: Fraction
    ) -> None:
        """`rate`: frames a second, on average."""
        self._detector = _detector(method, threshold, float(min_length))
        self._rate = rate
        self._size: tuple[int, int] | None = None
        self._latest: Any = None

    def cuts(self, time: Fraction, picture: "NDArray[np.uint8]") -> list[Fraction]:
        """The seconds of the cuts that the next frame tells of: its own, or earlier ones.

        `picture` has shape (height, width, 3), in blue, green, red; `time` is its second.
        """
        self._latest = _timecode(time, self._rate)
        found = self._detector.process_frame(self._latest, self._scaled(picture))
        return [_seconds(cut) for cut in found]

    def last_cuts(self) -> list[Fraction]:
        """Those that are known only once the video has ended."""
        if self._latest is None:
            return []
        return [_seconds(cut) for cut in self._detector.post_process(self._latest)]

    def _scaled(self, picture: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """As `SceneManager` scales it: other pixels would move cuts. A video whose size changes is
        looked at in its first size."""
        import cv2
        import numpy as np
        from scenedetect.scene_manager import compute_downscale_factor

        height, width = picture.shape[:2]
        if self._size is None:
            factor = compute_downscale_factor(max(width, height))
            self._size = max(1, round(width / factor)), max(1, round(height / factor))
        if (width, height) == self._size:
            return picture
        scaled = cv2.resize(picture, self._size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, np.uint8)


def check_detectors() -> None:
    """Raises UsageError where PySceneDetect is missing. It is not imported."""
    if find_spec("scenedetect") is None:
        raise UsageError(f"cutting videos into scenes takes PySceneDetect: {INSTALL}")


def load_detectors() -> Any:
    """PySceneDetect's module of detectors. Raises UsageError where it is missing."""
    check_detectors()
    from scenedetect import detectors

    return detectors


def _detector(method: Method, threshold: float | None, min_length: float) -> Any:
    detectors = load_detectors()
    kinds = {
        "adaptive": detectors.AdaptiveDetector,
        "content": detectors.ContentDetector,
        "threshold": detectors.ThresholdDetector,
        "hash": detectors.HashDetector,
        "histogram": detectors.HistogramDetector,
    }
    name = "adaptive_threshold" if method == "adaptive" else "threshold"
    chosen = {} if threshold is None else {name: threshold}
    return kinds[method](min_scene_len=min_length, **chosen)


def _timecode(time: Fraction, rate: Fraction) -> Any:
    from scenedetect.common import FrameTimecode, Timecode

    code = Timecode(pts=time.numerator, time_base=Fraction(1, time.denominator))
    return FrameTimecode(code, fps=rate)


def _seconds(cut: Any) -> Fraction:
    return Fraction(cut.pts * cut.time_base)
