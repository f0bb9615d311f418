"""The names and the list of the frames of one video."""

from fractions import Fraction

from stages.files.json_lines import json_line
from stages.media.sampling import rounded


class FileNames:
    """Names for the frames of one video, in the order in which they are shown."""

    def __init__(self) -> None:
        self._last = ""
        self._again = 0

    def take(self, time: Fraction) -> str:
        """The name of the next frame, which is shown at that second."""
        stem = f"{float(time):010.3f}"
        self._again = self._again + 1 if stem == self._last else 0
        self._last = stem
        return f"{stem}-{self._again}.jpg" if self._again else f"{stem}.jpg"


def frame_line(name: str, time: Fraction, size: tuple[int, int], keyframe: bool) -> str:
    """The line of frames.jsonl for a frame of that width and height."""
    width, height = size
    record = {
        "file": name,
        "timestamp": rounded(time),
        "width": width,
        "height": height,
        "keyframe": keyframe,
    }
    return json_line(record)
