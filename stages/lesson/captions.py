"""Captions: what is said, from the script, in lines that can be read while it is said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lesson.voices.sentences import pieces_of

LINE, LINES = 42, 2
"""Characters of a line, and lines of a caption, at most, as broadcasters have them."""

LONGEST = LINE * LINES - 4
SHORTEST = 0.7
"""Seconds that a caption stays, at least, where nothing follows sooner."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """Text, and the seconds of the film in which it is shown."""

    start: float
    end: float
    text: str


def captions_of(said: Iterable[tuple[float, float, str]]) -> list[TimedText]:
    """Captions of sentences (start, end, text) in order. A long one is cut into several, each of
    which gets its share of the time by its letters."""
    found: list[TimedText] = []
    for start, end, sentence in said:
        pieces = pieces_of(sentence, LONGEST)
        letters, at = sum(map(len, pieces)), start
        for piece in pieces:
            until = at + (end - start) * len(piece) / letters
            found.append(TimedText(at, until, "\n".join(_in_lines(piece))))
            at = until
    return [_held(one, found[n + 1] if n + 1 < len(found) else None) for n, one in enumerate(found)]


def _held(one: TimedText, following: TimedText | None) -> TimedText:
    end = max(one.end, one.start + SHORTEST)
    return TimedText(one.start, min(end, following.start) if following else end, one.text)


def _in_lines(text: str) -> Sequence[str]:
    return pieces_of(text, LINE) if len(text) > LINE else [text]


def write_vtt(captions: Sequence[TimedText], target: Path) -> None:
    lines = ["WEBVTT", ""]
    for one in captions:
        lines += [f"{_time(one.start)} --> {_time(one.end)}", _escaped(one.text), ""]
    target.write_text("\n".join(lines), "utf-8")


def _time(seconds: float) -> str:
    millis = round(seconds * 1000)
    hours, millis = divmod(millis, 3_600_000)
    minutes, millis = divmod(millis, 60_000)
    return f"{hours:02}:{minutes:02}:{millis // 1000:02}.{millis % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
