"""Text and figures as people read them: one line, a duration, a size, a rate."""

import re


def one_line(text: str, limit: int = 200) -> str:
    """`text` without line breaks and control characters, cut to `limit` characters.

    Text from a website ends up in messages: it must not be able to steer the terminal.
    """
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds of each unit of time."""


def duration(seconds: float) -> str:
    """Seconds as the two largest of days, hours, minutes and seconds: "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def seconds_of(text: str) -> float:
    """The seconds of a time such as "90s", "30 min", "12h", "7d" or "2w". Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|w)\s*", text)
    if found is None:
        raise ValueError(f'{text!r} is no time such as "30min", "12h" or "7d"')
    return float(found[1]) * UNITS[found[2]]


def size(count: int) -> str:
    """Bytes in the largest decimal unit in which the number is at least one."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def pace(per_second: float) -> str:
    """A rate in the unit that gives a readable number: "3.2/s", "12/min", "0.5/h"."""
    for unit, factor in (("s", 1), ("min", 60)):
        if per_second * factor >= 1:
            return f"{_short(per_second * factor)}/{unit}"
    return f"{_short(per_second * 3600)}/h"


def counted(number: int, word: str) -> str:
    """The number with the word, which has an s for several: "1 part", "1,204 parts"."""
    return f"{number:,} {word if number == 1 else plural(word)}"


def plural(word: str) -> str:
    """The word for several of what one `word` is, such as the unit of a pipeline."""
    return f"{word}s"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def writable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which UTF-8 cannot encode: file names
    and web pages may contain them."""
    return text.encode("utf-8", "replace").decode()
