"""What a file with a stretch of a video holds."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import OutputContainer


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """A file's name, and the seconds of the video from and until which it goes. Its own time
    begins at `start`."""

    file: str
    start: Fraction
    end: Fraction


SLACK = Fraction(1, 1_000_000)
"""Seconds by which a rounded edge may lie beside the frame that it means."""


def open_clip(path: Path) -> "OutputContainer":
    """A file to write. The same packets give the same bytes, and an MP4 plays while it is fetched:
    its table of contents comes first."""
    import av

    options = {"fflags": "+bitexact"}
    if path.suffix == ".mp4":
        options["movflags"] = "+faststart"
    return av.open(str(path), "w", options=options)
