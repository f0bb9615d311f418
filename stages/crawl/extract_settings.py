"""The settings of the extract stage."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from engine import Settings, setting
from stages.media.media_file import MOST_PIXELS


class ExtractSettings(Settings):
    """Settings of the extract stage."""

    sample: Literal["fps", "count", "keyframes", "all"] = setting(
        "fps",
        'Which frames: "fps" a second, "count" spread evenly, "keyframes", or "all".',
        per_item=True,
    )
    fps: float = setting(
        1.0,
        'Frames kept per second of video, with sample = "fps".',
        per_item=True,
        gt=0,
        le=1000,
    )
    count: int = setting(
        20,
        'Frames kept of the whole video, with sample = "count".',
        per_item=True,
        ge=1,
        le=1_000_000,
    )
    start: float = setting(
        0.0, "Seconds into the video to start at.", per_item=True, ge=0, allow_inf_nan=False
    )
    end: float | None = setting(
        None,
        "Seconds into the video to stop before; none: its end.",
        per_item=True,
        gt=0,
        allow_inf_nan=False,
        example=600.0,
    )
    max_frames: int | None = setting(
        None,
        "Frames kept of one video, at most: the first ones; none: no limit.",
        per_item=True,
        ge=1,
        example=1000,
    )
    stretch: float = setting(
        10.0,
        "Seconds of video that go on together while the rest is decoded; 0: the whole video.",
        affects_output=False,
        ge=0,
        allow_inf_nan=False,
    )
    size: int | None = setting(
        640, "Pixels along the longer side; never enlarges; 0: as it is.", ge=0, le=16384
    )
    quality: int = setting(90, "JPEG quality.", ge=1, le=95)
    max_pixels: int = setting(
        MOST_PIXELS,
        "Pixels of a frame, at most; a video with larger ones fails before it takes memory.",
        affects_output=False,
        ge=1,
        le=2**31 - 1,
    )
    threads: PositiveInt | Literal["auto"] = setting(
        "auto",
        'Threads that decode one video: a number, or "auto": more than one if cores are idle.',
        affects_output=False,
    )

    @model_validator(mode="after")
    def _end_after_start(self) -> "ExtractSettings":
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end:g} s) must be later than start ({self.start:g} s)")
        return self
