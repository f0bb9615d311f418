"""A card: a picture of a section that has none, with its title and what is said."""

import colorsys
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.lesson.pictures.fonts import font_for

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

MARGIN = 1 / 12
"""Of the card's width, on each side."""

INK, PALE = (255, 255, 255), (214, 222, 235)


def draw_card(
    size: tuple[int, int], title: str, text: str = "", small: str = "", font: str | None = None
) -> "Image":
    """A card of that width and height in pixels. Its colour follows from `small`, which stands at
    its foot: the cards of one lesson are alike. Raises NoFontError."""
    from PIL.Image import new
    from PIL.ImageDraw import Draw

    width, height = size
    card = new("RGB", size)
    pen = Draw(card)
    for row in range(height):
        pen.line([(0, row), (width, row)], fill=_colour(small, 0.30 - 0.16 * row / height))
    left, room = round(width * MARGIN), round(width * (1 - 2 * MARGIN))
    pen.rectangle(
        [left, round(height * 0.16), left + round(width * 0.08), round(height * 0.172)], fill=INK
    )
    top = height * 0.20
    top = (
        _block(pen, title, (left, top), (room, height * 0.30), height // 9, INK, font)
        + height * 0.04
    )
    if text:
        _block(pen, text, (left, top), (room, height * 0.88 - top), height // 20, PALE, font)
    if small:
        foot = font_for(small, max(12, height // 34), font)
        pen.text((left, height * 0.92), small, font=foot, fill=PALE, anchor="ls")
    return card


def _block(
    pen: "ImageDraw",
    text: str,
    at: tuple[float, float],
    room: tuple[float, float],
    largest: int,
    colour: tuple[int, int, int],
    file: str | None,
) -> float:
    """Write the text into a block, as large as it fits, at most `largest` pixels; returns where the
    block ends. What does not fit in the smallest letters ends with an ellipsis."""
    width, height = room
    smallest = min(largest, max(12, largest // 3))
    for size in range(largest, smallest - 1, -2):
        font = font_for(text, size, file)
        lines, step = _lines(text, font, width), size * 1.3
        if len(lines) * step <= height:
            break
    else:
        fit = max(1, int(height / step))
        lines = [*lines[: fit - 1], f"{lines[fit - 1][:-1]}…"] if len(lines) > fit else lines
    for number, line in enumerate(lines):
        pen.text((at[0], at[1] + number * step), line, font=font, fill=colour)
    return at[1] + len(lines) * step


def _lines(text: str, font: "FreeTypeFont", width: float) -> list[str]:
    """The text in lines that are no wider, cut between words, or within one that is too long."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _words(paragraph):
            if font.getlength((line + word).rstrip()) <= width:
                line += word
                continue
            if line.strip():
                lines.append(line.rstrip())
            line = word.lstrip()
            while font.getlength(line.rstrip()) > width and len(line) > 1:
                cut = _longest(line, font, width)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line.rstrip())
    return lines


def _words(text: str) -> Sequence[str]:
    """The words, each with the space before it; without spaces, the characters."""
    words = [f" {word}" for word in text.split()]
    return [words[0].lstrip(), *words[1:]] if words else []


def _longest(line: str, font: "FreeTypeFont", width: float) -> int:
    """Number of characters of the line that fit, at least one."""
    fits, over = 1, len(line)
    while over - fits > 1:
        half = (fits + over) // 2
        if font.getlength(line[:half]) <= width:
            fits = half
        else:
            over = half
    return fits


def _colour(of: str, light: float) -> tuple[int, int, int]:
    hue = hashlib.sha256(of.encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, light, 0.45)
    return round(red * 255), round(green * 255), round(blue * 255)
