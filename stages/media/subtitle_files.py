"""Subtitles in a file of their own, WebVTT or SubRip: read leniently, as players do."""

import codecs
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from stages.media.subtitles import ShownText, Subtitles

SUFFIXES = (".vtt", ".srt")

MOST_BYTES = 50_000_000
"""Of a file that is read: the words of a day take two million."""

_TIMES = re.compile(
    r"(?:(\d+):)?(\d{1,3}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,3}):(\d{1,2})[.,](\d{1,3})"
)
"""Hours, minutes, seconds and thousandths, from and to. WebVTT may leave the hours out."""

_CODEPAGES = {
    **dict.fromkeys(("ru", "uk", "bg", "sr", "mk", "be"), "cp1251"),
    **dict.fromkeys(("pl", "cs", "sk", "hu", "sl", "hr", "ro"), "cp1250"),
    **{"el": "cp1253", "tr": "cp1254", "he": "cp1255", "ar": "cp1256", "fa": "cp1256"},
    **{"et": "cp1257", "lv": "cp1257", "lt": "cp1257", "vi": "cp1258", "th": "cp874"},
    **{"ja": "cp932", "zh": "gb18030", "ko": "cp949"},
}
"""What old files that are not UTF-8 are written in, by language."""

_WESTERN = "cp1252"

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins with the mark of UTF-16
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_ROLLING = 0.4
"""The share of cues that begin with the lines before, from which on a file is one of captions that
roll up: each line stands in two or three cues."""

_CLOSE = 0.2
"""Seconds between two cues that follow each other at once."""


class UnreadableSubtitlesError(Exception):
    """A file holds no subtitles; the text says what is wrong with it."""


class _Cue(NamedTuple):
    start: float
    end: float
    lines: tuple[str, ...]


def read_subtitle_file(path: Path, language: str | None) -> Subtitles:
    """The cues of a file in the order of their times: plain text, each line of captions that roll
    up once. `language` is what the file is said to be in.

    Raises UnreadableSubtitlesError, and OSError where the file cannot be read.
    """
    content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    if not content:
        raise UnreadableSubtitlesError("it is empty, or far too large")
    cues = sorted(_cues(_decoded(content, language)), key=lambda cue: (cue.start, cue.end))
    shown = [cue for cue in cues if cue.lines]
    if not shown:
        raise UnreadableSubtitlesError("there is no line with times in it and a text after that")
    texts = (ShownText(one.start, one.end, " ".join(one.lines)) for one in _unrolled(shown))
    return Subtitles(path.suffix[1:].lower(), language, tuple(texts))


def _decoded(content: bytes, language: str | None) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        spoken = re.split(r"[-_]", (language or "").lower())[0]
        return content.decode(_CODEPAGES.get(spoken, _WESTERN), "replace")


def _cues(text: str) -> Iterator[_Cue]:
    times: re.Match[str] | None = None
    lines: list[str] = []
    # A line of blanks alone ends no cue: YouTube's captions have them.
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        found = _TIMES.search(line)
        if found is None and line:
            lines.append(line)
            continue
        if times is not None and found is not None and lines and lines[-1].strip().isdigit():
            del lines[-1]  # the next cue's number, where no empty line is between
        if times is not None:
            yield _cue(times, lines)
        times, lines = found, []


def _cue(times: re.Match[str], lines: Iterable[str]) -> _Cue:
    start, end = (
        int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(part.ljust(3, "0")) / 1000
        for hours, minutes, seconds, part in (times.groups()[:4], times.groups()[4:])
    )
    plain = (_plain(line) for line in lines)
    return _Cue(start, max(start, end), tuple(line for line in plain if line))


def _plain(line: str) -> str:
    """The text alone: no tags, no styles, no dash of a speaker."""
    text = html.unescape(re.sub(r"<[^<>]*>|\{\\[^}]*\}|\\[Nnh]", " ", line))
    text = re.sub(r"^\s*[-–]\s+", "", text.replace("\u200b", ""))
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))


def _unrolled(cues: Sequence[_Cue]) -> Iterator[_Cue]:
    """Each line once, where captions roll up; else the cues as they are: who says a thing twice is
    quoted twice."""
    kept = [_kept(before, cue) for before, cue in pairwise(cues)]
    repeating = sum(len(new) < len(cue.lines) for new, cue in zip(kept, cues[1:], strict=True))
    if repeating < _ROLLING * len(kept) or not kept:
        yield from cues
        return
    for cue, new in zip(cues, [cues[0].lines, *kept], strict=True):
        if new:
            yield cue._replace(lines=new)


def _kept(before: _Cue, cue: _Cue) -> tuple[str, ...]:
    """The lines of a cue without those that stood there already."""
    if cue.start > before.end + _CLOSE:
        return cue.lines
    for count in range(min(len(before.lines), len(cue.lines)), 0, -1):
        if before.lines[-count:] == cue.lines[:count]:
            return cue.lines[count:]
    return cue.lines
