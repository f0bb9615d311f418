"""What a scene's detections come to, by class. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from stages.media.sampling import rounded
from stages.models.detector import Detection


@dataclass(slots=True)
class _Class:
    first: Fraction
    last: Fraction
    ids: set[int] = field(default_factory=set)
    most: int = 0


class ObjectTally:
    """Counts the objects of a scene, frame by frame.

    Only detections of at least `confidence` count. An id tells that two of them are one object; it
    decides nothing else: what has none is counted among those seen at once, and dated.
    """

    def __init__(self, confidence: float) -> None:
        self._confidence = confidence
        self._classes: dict[str, _Class] = {}

    def see(
        self, time: Fraction, detections: Sequence[Detection], ids: Sequence[int | None]
    ) -> None:
        """The next frame is shown at `time`; `ids` are those of its detections."""
        together: Counter[str] = Counter()
        for detection, number in zip(detections, ids, strict=True):
            if detection.confidence < self._confidence:
                continue
            together[detection.name] += 1
            seen = self._classes.setdefault(detection.name, _Class(time, time))
            seen.last = time
            if number is not None:
                seen.ids.add(number)
        for name, count in together.items():
            self._classes[name].most = max(self._classes[name].most, count)

    def lines(self) -> list[dict[str, Any]]:
        """A line for each class, in alphabetical order."""
        return [
            {
                "class": name,
                "ids": len(seen.ids),
                "most_at_once": seen.most,
                "first_seen": rounded(seen.first),
                "last_seen": rounded(seen.last),
            }
            for name, seen in sorted(self._classes.items())
        ]
