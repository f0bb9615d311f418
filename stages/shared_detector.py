"""One loaded model for all who detect the same things with it: the filter's workers of a run."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass

from stages.detector import Detector
from stages.yolo import find_weights


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What a detector is made of; see `Detector`. `weights` is a path or a published name."""

    weights: str
    classes: tuple[str, ...]
    confidence: float
    iou: float
    image_size: int
    batch: int
    device: str
    half: bool

    def load(self) -> Detector:
        """Raises what `find_weights` and `Detector` do."""
        return Detector(
            find_weights(self.weights),
            classes=self.classes,
            confidence=self.confidence,
            iou=self.iou,
            image_size=self.image_size,
            batch=self.batch,
            device=self.device,
            half=self.half,
        )


@dataclass(slots=True)
class _Loaded:
    """A detector that is there or is being loaded, and how many use it or wait for it."""

    detector: Future[Detector]
    users: int = 0


_lock = threading.Lock()
_loaded: dict[DetectorOptions, _Loaded] = {}


def borrow(options: DetectorOptions) -> Detector:
    """The one detector of this process that is made of this; give it back after use.

    Whoever asks first loads it, and those who ask meanwhile wait. Raises what loading it does, to
    all of them.
    """
    with _lock:
        loaded = _loaded.setdefault(options, _Loaded(Future()))
        loaded.users += 1
        is_first = loaded.users == 1
    if is_first:
        try:
            loaded.detector.set_result(options.load())
        except BaseException as error:
            with _lock:
                del _loaded[options]
            loaded.detector.set_exception(error)
    return loaded.detector.result()


def give_back(options: DetectorOptions) -> None:
    """Who borrowed a detector uses it no more; it is closed when nobody does."""
    with _lock:
        loaded = _loaded[options]
        loaded.users -= 1
        if loaded.users:
            return
        del _loaded[options]
    loaded.detector.result().close()
