"""The image stage: the picture of a section."""

import json
from pathlib import Path
from typing import Any, Literal, NoReturn

from anyio.to_thread import run_sync
from pydantic import field_validator

from engine import Item, Permanent, StandIn, UsageError, setting
from stages.lesson.pictures.card import draw_card
from stages.lesson.pictures.fitting import UnreadablePictureError, fit_drawn, fit_whole
from stages.lesson.pictures.fonts import NoFontError, check_font
from stages.lesson.scripts.sections import SavedSection, read_section
from stages.lesson.services.asking import MediaAsker
from stages.lesson.services.counts import write_counts
from stages.lesson.services.image_api import GeminiImages, OpenAIImages
from stages.lesson.services.profiles import DRAWING, LOOKED_UP
from stages.lesson.services.service_stage import ServiceStage
from stages.lesson.services.settings import ServiceSettings, model_of, open_asker, url_of

PICTURE, IMAGE_FACTS = "picture.png", "image.json"


class LessonImage(ServiceStage):
    """Find, have drawn, or draw the picture of a section.

    Of `section` it reads section.json and the picture that it names. It writes picture.png, of the
    lesson's size, and image.json: {"made_by", "asked": calls of a service}. A section that says in
    no words what is to be seen gets a card. Raises Permanent, of kind "refused", where the service
    draws no such thing; what comes back and is no picture fails and is tried again. Where no
    service has drawn it yet it raises StandIn: in a preview with a card, and image.json says
    "stands_in"; in a dry run with requests.jsonl alone.
    """

    name = "image"
    inputs = "section"
    item_failures = frozenset({"no_font", "damaged", "refused"})

    class Settings(ServiceSettings):
        backend: Literal["card", "openai", "gemini"] = setting(
            "card",
            'Who draws what a section describes: "card" (this machine, with its words), "openai" '
            '(any server with OpenAI\'s protocol: see base_url) or "gemini".',
        )
        model: str | None = setting(
            None,
            "The model that draws; none: "
            + " or ".join(one.model for one in DRAWING.values())
            + f", as looked up on {LOOKED_UP}.",
            in_ingredients=True,
            example="gpt-image-2",
        )
        size: str = setting("1280x720", "Width and height of the video, in pixels, both even.")
        style: str | None = setting(
            None,
            "Words that are added to what every section describes, for pictures that go together.",
            per_item=True,
            example="A flat illustration in calm colours, without any lettering.",
        )
        quality: str | None = setting(
            None,
            'How well an OpenAI-compatible service draws, such as "low"; none: as it likes.',
            example="medium",
        )
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

        @property
        def pixels(self) -> tuple[int, int]:
            width, height = map(int, self.size.split("x"))
            return width, height

    settings: "LessonImage.Settings"

    async def open(self) -> None:
        """Raises UsageError for a font that is none, and as any step that may call a service."""
        if self.settings.font is not None:
            try:
                await run_sync(check_font, self.settings.font)
            except NoFontError as error:
                raise UsageError(str(error)) from None
        await super().open()

    def find_ingredients(self, earlier: Any) -> dict[str, Any]:
        """The model that draws, where one does."""
        backend = self.settings.backend
        return {} if backend == "card" else {"model": model_of(self.settings, DRAWING[backend])}

    def connect(self) -> MediaAsker | None:
        settings = self.settings
        if settings.backend == "card":
            return None
        profile = DRAWING[settings.backend]
        url, model = url_of(settings, profile), model_of(settings, profile)
        api: OpenAIImages | GeminiImages
        if settings.backend == "gemini":
            api = GeminiImages(url, model, settings.pixels)
        else:
            version = settings.api_version
            api = OpenAIImages(url, model, settings.pixels, settings.quality, version)
        asked = {"size": settings.size, "quality": settings.quality}
        return open_asker(settings, profile, api, asked, self.workdir, step=self.name, free="card")

    async def process(self, item: Item, out: Path) -> None:
        folder = item.input("section")
        section = await run_sync(read_section, folder)
        prompt = _prompt(section, self.settings_for(item).style)
        asker, asked = self.asker, 0
        if section.image_file is not None:
            await self.here(self._show, folder / section.image_file, out / PICTURE)
            made_by = "file"
        elif section.image is None or asker is None:
            await self.here(self._draw, section, out / PICTURE)
            made_by = "card"
        elif await self.stands_in([prompt]):
            await self._stand_in(section, prompt, out)
        else:
            fitted = fit_drawn(self.settings.pixels, out / PICTURE)
            await asker.ask(prompt, fitted)
            made_by, asked = asker.made_by, 1
        (out / IMAGE_FACTS).write_text(json.dumps({"made_by": made_by, "asked": asked}) + "\n")

    async def _stand_in(self, section: SavedSection, prompt: str, out: Path) -> NoReturn:
        """Raises StandIn, with what stands in for a picture that no service has drawn yet."""
        if self.settings.dry_run:
            await run_sync(write_counts, out, [await run_sync(self.count, prompt)])
            raise StandIn("a count, in a dry run")
        await self.here(self._draw, section, out / PICTURE)
        (out / IMAGE_FACTS).write_text(json.dumps({"made_by": "card", "stands_in": True}) + "\n")
        raise StandIn("a card, in a preview")

    def _show(self, source: Path, target: Path) -> None:
        try:
            fit_whole(source, self.settings.pixels, target)
        except UnreadablePictureError as error:
            why = f"the section's picture cannot be read: {error}"
            raise Permanent(why, kind="damaged") from None

    def _draw(self, section: SavedSection, target: Path) -> None:
        title = section.title or section.lesson
        text = section.image or section.text or ""
        try:
            card = draw_card(self.settings.pixels, title, text, section.lesson, self.settings.font)
        except NoFontError as error:
            raise Permanent(str(error), kind="no_font") from None
        card.save(target, compress_level=1)


def _prompt(section: SavedSection, style: str | None) -> str:
    return "\n".join(one for one in (section.image, style) if one)
