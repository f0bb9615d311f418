"""Tracks objects from frame to frame with ultralytics' trackers, fed with detections in order."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine import UsageError
from stages.models.detector import Detection
from stages.models.yolo import import_ultralytics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TrackerKind = Literal["bytetrack", "botsort"]

LEAST_CONFIDENCE = 0.1
"""Detections down to this confidence keep a track going, as in ByteTrack's second association: a
detector that feeds a tracker has to give them."""


def check_tracking(remedy: str) -> None:
    """Raises UsageError, with the remedy beside installing it, where a package is missing."""
    if find_spec("lap") is None:
        raise UsageError(
            "tracking objects takes the Python package lap, which is not installed; "
            f"pip install 'penstock[scenes]', or {remedy}"
        )


class Tracker:
    """Gives the detections of one scene's frames ids that last from frame to frame.

    `rate` is the number of frames a second, and `buffer` the seconds for which an object that is
    not seen keeps its id. A track begins with a detection of at least `confidence`; weaker ones, of
    at least LEAST_CONFIDENCE, only continue it. An id is the object's as far as boxes overlap from
    one frame to the next: what moves by most of its width between two frames gets a new one.
    """

    def __init__(self, kind: TrackerKind, *, rate: float, buffer: float, confidence: float) -> None:
        ultralytics = import_ultralytics()
        from ultralytics.trackers.bot_sort import BOTSORT
        from ultralytics.trackers.byte_tracker import BYTETracker
        from ultralytics.utils import YAML, IterableSimpleNamespace

        # By its path: given a bare name, ultralytics prefers a file in the current folder.
        defaults = Path(ultralytics.__file__).parent / "cfg" / "trackers" / f"{kind}.yaml"
        wanted = {
            "track_high_thresh": confidence,
            "new_track_thresh": confidence,
            "track_low_thresh": min(LEAST_CONFIDENCE, confidence),
            "track_buffer": max(1, round(buffer * rate)),
            "with_reid": False,
            "device": "cpu",
        }
        loaded: Any = YAML.load(defaults)  # type: ignore[no-untyped-call]
        arguments: Any = IterableSimpleNamespace(**(loaded | wanted))
        kinds: dict[str, Any] = {"bytetrack": BYTETracker, "botsort": BOTSORT}
        self.needs_pictures = kind == "botsort"
        """It finds how the camera moved from the pictures."""
        self._tracker: Any = kinds[kind](arguments)
        self._classes: dict[str, int] = {}

    def ids(
        self, detections: Sequence[Detection], picture: "NDArray[np.uint8] | None" = None
    ) -> list[int | None]:
        """The id of each of the next frame's detections, None where it has none (yet).

        `picture` is the frame, of shape (height, width, 3), in blue, green, red.
        """
        import numpy as np
        from ultralytics.engine.results import Boxes

        rows = np.array([[*one.box, one.confidence, self._number(one)] for one in detections])
        boxes = Boxes(rows.reshape(-1, 6).astype(np.float32), (0, 0))
        found: list[int | None] = [None] * len(detections)
        for row in self._tracker.update(boxes, picture):
            found[int(row[-1])] = int(row[4])
        return found

    def _number(self, detection: Detection) -> int:
        return self._classes.setdefault(detection.name, len(self._classes))
