"""What is said in a video, as the cues of subtitles."""

import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from stages.scenes.exports.reader import ScenesOfVideo
from stages.sinks.texts import passages, segments_of

LINE = 42
"""Characters of a line, at most, unless a word is longer: what subtitles are usually held to."""

SHORTEST = 0.1
"""Seconds of a cue, at least: players leave out one without a length."""


class Cue(NamedTuple):
    """Seconds in the video, and the lines shown then; none of them is empty."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues_of(video: ScenesOfVideo) -> Iterator[Cue]:
    """A cue for each segment of speech, in order of time."""
    segments = [segment for record in video.scenes for segment in segments_of(record)]
    for segment in sorted(segments, key=lambda one: (one["start"], one["end"])):
        start = max(float(segment["start"]), 0.0)
        text = " ".join(passages(segment["text"]))
        lines = textwrap.wrap(text, LINE, break_long_words=False, break_on_hyphens=False)
        yield Cue(start, max(float(segment["end"]), start + SHORTEST), tuple(lines))


def clock(seconds: float, point: str) -> str:
    """A time as both formats write it: "01:02:03.450", with `point` before the milliseconds."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    hours, rest = divmod(whole, 3600)
    return f"{hours:02}:{rest // 60:02}:{rest % 60:02}{point}{thousandths:03}"
