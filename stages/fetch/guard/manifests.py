"""The number of pieces in a stream's manifest, counted before yt-dlp makes a list of them.

A DASH or Smooth Streaming manifest may state the number: one of 400 bytes may stand for ten
thousand million pieces.
"""

import re
from dataclasses import dataclass, replace
from xml.etree import ElementTree

_ROOT = re.compile(rb"<(?:[\w.-]{1,40}:)?(?:MPD|SmoothStreamingMedia)\b")
_LOOKED_AT = 4096
"""Bytes from the beginning within which a manifest's first element stands."""


@dataclass(frozen=True, slots=True)
class _Counting:
    """The statements of a DASH element, or of the elements around it, about its pieces."""

    seconds: float
    timescale: float = 1.0
    duration: float = 0.0
    listed: float = 0.0


def pieces_in(text: bytes) -> float:
    """The number of pieces in a manifest. 0 for any other text, and for a manifest that cannot be
    parsed: yt-dlp then reports it. An invalid number may give infinity."""
    if _ROOT.search(text, 0, _LOOKED_AT) is None:
        return 0
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return 0
    if _name(root) == "SmoothStreamingMedia":
        return sum(_in_stream(stream) for stream in root.iter() if _name(stream) == "StreamIndex")
    whole = _Counting(_seconds(root.get("mediaPresentationDuration")))
    return sum(
        _in_dash(period, replace(whole, seconds=_seconds(period.get("duration")) or whole.seconds))
        for period in root
        if _name(period) == "Period"
    )


def _in_dash(element: ElementTree.Element, counting: _Counting) -> float:
    for child in element:
        if _name(child) in ("SegmentList", "SegmentTemplate"):
            counting = replace(
                counting,
                timescale=_number(child.get("timescale")) or counting.timescale,
                duration=_number(child.get("duration")) or counting.duration,
                listed=_listed(child) or counting.listed,
            )
    if _name(element) != "Representation":
        inner = [one for one in element if _name(one) in ("AdaptationSet", "Representation")]
        return sum(_in_dash(one, counting) for one in inner)
    if counting.listed:
        return counting.listed
    return counting.seconds * counting.timescale / counting.duration if counting.duration else 0


def _listed(segments: ElementTree.Element) -> float:
    return sum(
        _number(piece.get("r")) + 1
        for timeline in segments
        if _name(timeline) == "SegmentTimeline"
        for piece in timeline
    )


def _in_stream(stream: ElementTree.Element) -> float:
    levels = sum(_name(child) == "QualityLevel" for child in stream)
    return levels * sum(_number(one.get("r")) or 1 for one in stream if _name(one) == "c")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _seconds(text: str | None) -> float:
    from yt_dlp.utils import parse_duration

    return float(parse_duration(text) or 0)
