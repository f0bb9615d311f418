"""The subtitles in a video file, where they are text."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from engine import checkpoint
from stages.media.media_file import NoMediaError, open_media

_TEXT = {"srt", "subrip", "ass", "ssa", "mov_text", "webvtt", "text"}
"""FFmpeg's names of the codecs that are text: others are pictures of it."""


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text that is shown from second to second."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Subtitles:
    """A track of subtitles: its codec, its language (None where the file does not say), and its
    cues in order."""

    codec: str
    language: str | None
    cues: tuple[ShownText, ...]


def read_subtitles(path: Path, zero: Fraction, language: str | None) -> Subtitles | None:
    """The subtitles of a video, with times from second `zero` of the container's clock on.

    Of several tracks it is the first one in `language`, by the beginning of its name ("en" is also
    "eng"), else the first. None where the file has none, none that is text, or cannot be read.
    """
    import av

    try:
        with open_media(path) as container:
            tracks = [one for one in container.streams.subtitles if _is_text(one)]
            wanted = [one for one in tracks if _speaks(one, language)] or tracks[: language is None]
            if not wanted:
                return None
            track = wanted[0]
            cues = [cue for one in container.demux(track) for cue in _cues(one, zero)]
            return Subtitles(track.codec_context.name, track.language, tuple(cues))
    except (NoMediaError, av.FFmpegError):
        return None


def _is_text(track: Any) -> bool:
    return track.codec_context is not None and track.codec_context.name in _TEXT


def _speaks(track: Any, language: str | None) -> bool:
    return language is not None and (track.language or "").lower().startswith(language.lower())


def _cues(packet: Any, zero: Fraction) -> list[ShownText]:
    checkpoint()
    if packet.pts is None or packet.time_base is None:
        return []
    start = float(packet.pts * packet.time_base - zero)
    end = start + float((packet.duration or 0) * packet.time_base)
    shown = [getattr(one, "dialogue", b"") for one in packet.decode()]
    text = " ".join(filter(None, map(_plain, shown)))
    return [ShownText(max(0.0, start), end, text)] if text and end > 0 else []


def _plain(dialogue: bytes) -> str:
    """The text alone, in one line: no styles, no dash of a speaker."""
    text = re.sub(r"\{[^}]*\}|<[^>]*>|\\[Nnh]", " ", dialogue.decode("utf-8", "replace"))
    text = re.sub(r"^\s*[-–]\s+", "", text, flags=re.MULTILINE)
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))
