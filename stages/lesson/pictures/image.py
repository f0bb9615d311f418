"""The image stage: the picture of a section."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

import engine
from engine import Item, Permanent, Stage, setting
from stages.lesson.pictures.card import draw_card
from stages.lesson.pictures.fonts import NoFontError
from stages.lesson.scripts.sections import SavedSection, read_section

PICTURE, IMAGE_FACTS = "picture.png", "image.json"
MOST_PIXELS = 100_000_000


class LessonImage(Stage):
    """Find, or draw, the picture of a section.

    Of `section` it reads section.json and the picture that it names. It writes picture.png, of the
    lesson's size, and image.json: {"made_by"}.
    """

    name = "image"
    inputs = "section"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset({"no_font", "damaged"})

    class Settings(engine.Settings):
        backend: Literal["card"] = setting(
            "card", 'Who draws what a section describes: "card" (this machine, with its words).'
        )
        size: str = setting("1280x720", "Width and height of the video, in pixels, both even.")
        font: str | None = setting(
            None,
            "A font file for cards; none: one of this machine.",
            example="NotoSans-Regular.ttf",
        )

        @field_validator("size")
        @classmethod
        def _a_size(cls, value: str) -> str:
            width, _, height = value.lower().partition("x")
            if not (width.isdecimal() and height.isdecimal()):
                raise ValueError(f"{value!r} is no size; give it like 1280x720")
            if any(not 64 <= int(one) <= 4096 or int(one) % 2 for one in (width, height)):
                raise ValueError(f"{value!r}: both are even, from 64 to 4096")
            return value.lower()

    settings: "LessonImage.Settings"

    def process(self, item: Item, out: Path) -> None:
        folder = item.input("section")
        section = read_section(folder)
        width, height = map(int, self.settings.size.split("x"))
        if section.image_file is not None:
            _fit(folder / section.image_file, (width, height), out / PICTURE)
            made_by = "file"
        else:
            self._draw(section, (width, height), out / PICTURE)
            made_by = "card"
        (out / IMAGE_FACTS).write_text(json.dumps({"made_by": made_by}) + "\n")

    def _draw(self, section: SavedSection, size: tuple[int, int], target: Path) -> None:
        title = section.title or section.lesson
        text = section.image or section.text or ""
        try:
            card = draw_card(size, title, text, section.lesson, self.settings.font)
        except NoFontError as error:
            raise Permanent(str(error), kind="no_font") from None
        card.save(target, compress_level=1)


def _fit(source: Path, size: tuple[int, int], target: Path) -> None:
    """The picture in full, upright, with black beside it or above it where its form differs."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with Image.open(source) as found:
            upright = ImageOps.exif_transpose(found).convert("RGBA")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError) as error:
        raise Permanent(f"the section's picture cannot be read: {error}", kind="damaged") from None
    flat = Image.new("RGB", upright.size, (0, 0, 0))
    flat.paste(upright, mask=upright.getchannel("A"))
    ImageOps.pad(flat, size, Image.Resampling.LANCZOS).save(target, compress_level=1)
