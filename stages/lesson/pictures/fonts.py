"""Fonts of this machine that have the letters of a text."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine import PenstockError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
PREFERRED = ("notosans-regular", "dejavusans", "liberationsans-regular", "arial", "notosanscjk")
"""Names of files, as they begin, without case, that are tried first."""

ENDINGS = (".ttf", ".otf", ".ttc")
ODD = ("bold", "italic", "obl", "light", "condensed", "mono")

MOST_TRIED = 400


class NoFontError(PenstockError):
    """No font of this machine has all the letters of a text."""


def font_for(text: str, size: int, file: str | None = None) -> "FreeTypeFont":
    """A font of that size in pixels that has every letter of the text: the one in `file`, else the
    first of this machine, else that of Pillow. Raises NoFontError, which names missing letters."""
    letters = frozenset(one for one in text if not one.isspace() and one.isprintable())
    if file is not None:
        found = _open(file, size)
        if found is None:
            raise NoFontError(f"{file} is no font that can be read; set stages.image.font to one")
        if lacking := _lacking(found, letters):
            raise NoFontError(f"{file} lacks {_shown(lacking)}; set stages.image.font to another")
        return found
    name = _first_with(letters)
    found = _open(name, size) if name else _built_in(size)
    if found is None or (name is None and _lacking(found, letters)):
        lacking = set(letters) if found is None else _lacking(found, letters)
        raise NoFontError(
            f"no font of this machine has {_shown(lacking)}; install one, such as those of the "
            "package fonts-noto, or set stages.image.font"
        )
    return found


def check_font(file: str) -> None:
    """Raises NoFontError where it is no font, whatever it is to write."""
    font_for("", 24, file)


def _shown(letters: Iterable[str]) -> str:
    some = sorted(letters)
    return " ".join(some[:8]) + (" and others" if len(some) > 8 else "")


@cache
def _first_with(letters: frozenset[str]) -> str | None:
    for name in _fonts():
        font = _open(name, 24)
        if font is not None and not _lacking(font, letters):
            return name
    return None


@cache
def _fonts() -> Sequence[str]:
    """The font files of this machine, the preferred ones first."""
    found = sorted({str(path) for path in _files()})

    def rank(name: str) -> int:
        stem = Path(name).stem.lower().replace("_", "-")
        return next((n for n, one in enumerate(PREFERRED) if stem.startswith(one)), len(PREFERRED))

    plain = [
        one
        for one in found
        if not any(
            w in one.lower() for w in ("bold", "italic", "obl", "light", "condensed", "mono")
        )
    ]
    return sorted(plain or found, key=rank)[:MOST_TRIED]


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        for at, _, names in os.walk(Path(folder).expanduser()):
            yield from (
                Path(at) / one for one in names if one.lower().endswith((".ttf", ".otf", ".ttc"))
            )


@cache
def _open(name: str, size: int) -> "FreeTypeFont | None":
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@cache
def _built_in(size: int) -> "FreeTypeFont | None":
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    return font if isinstance(font, ImageFont.FreeTypeFont) else None


def _lacking(font: "FreeTypeFont", letters: Iterable[str]) -> set[str]:
    """The letters that the font draws as it draws what it has not."""
    nothing = _drawn(font, "\U0010fffd")
    return {one for one in letters if _drawn(font, one) == nothing}


def _drawn(font: "FreeTypeFont", letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
