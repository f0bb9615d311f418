"""The sections stage: a script, checked and split into its sections.

Each part holds `section.json` (see `SavedSection`) and the files that the section names. It has all
that shapes the section, and nothing else: so a section that has not changed is not made again.
"""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, field_validator

import engine
from engine import Item, Parts, Permanent, Stage, setting
from stages.lesson.scripts.mapping import NAMES, ScriptMap
from stages.lesson.scripts.script import Script, ScriptError, ScriptSection, read_script
from stages.net.addresses import local_path

SECTION = "section.json"
LESSON = "lesson.json"


class SavedSection(BaseModel):
    """A section in its part's folder. `image_file` and `voice_file` are names there."""

    title: str | None
    text: str | None
    language: str
    pronunciation: dict[str, str]
    image: str | None
    image_file: str | None
    voice_file: str | None
    seconds: float | None
    lesson: str
    """The lesson's title."""


class Sections(Stage):
    """Read the script, and split it into its sections.

    Of the whole it writes lesson.json: {"title", "language", "sections": their number}. Raises
    Permanent, of kind "script", with every line that is wrong.
    """

    # A section that cannot be made is shown by a card that says so.
    defaults: ClassVar[dict[str, Any]] = {"workers": 1, "most_failed": 0.99}
    item_failures = frozenset({"script", "missing_file"})

    class Settings(engine.Settings):
        map: dict[str, str] = setting(
            {},
            "Where a script of another shape has its fields, as dotted paths, by "
            f"{', '.join(NAMES)}.",
            example={"sections": "slides", "text": "voiceover"},
        )

        @field_validator("map")
        @classmethod
        def _a_map(cls, value: dict[str, str]) -> dict[str, str]:
            for name, path in value.items():
                if name not in NAMES:
                    raise ValueError(f"{name!r} is no field of a script: {', '.join(NAMES)}")
                if not all(path.split(".")):
                    raise ValueError(f"{name} = {path!r}: a path is like voiceover, or slide.text")
            return value

    settings: "Sections.Settings"

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        path = local_path(item.source)
        if path is None:
            raise Permanent(f"{item.source} is no file; a lesson's script is one", kind="script")
        try:
            script = read_script(path, ScriptMap(self.settings.map))
        except ScriptError as error:
            raise Permanent("; ".join(str(error).splitlines()), kind="script") from None
        except OSError as error:
            raise Permanent(f"{path}: {error.strerror}", kind="missing_file") from None
        for section in script.sections:
            if parts.reuse():
                continue
            with parts.make() as folder:
                _write(script, section, path, Path(folder))
        whole = {
            "title": script.title,
            "language": script.language,
            "sections": len(script.sections),
        }
        (out / LESSON).write_text(f"{json.dumps(whole, ensure_ascii=False, indent=2)}\n", "utf-8")


def read_section(folder: Path) -> SavedSection:
    return SavedSection.model_validate_json((folder / SECTION).read_bytes())


def _write(script: Script, section: ScriptSection, path: Path, folder: Path) -> None:
    copies: dict[str, str | None] = {}
    for field, stem in (("image_file", "picture"), ("voice_file", "recording")):
        name = getattr(section, field)
        copy = f"{stem}{Path(name).suffix.lower()}" if name is not None else None
        if copy is not None:
            shutil.copyfile(path.parent / name, folder / copy)
        copies[field] = copy
    said = section.text or ""
    saved = SavedSection(
        title=section.title,
        text=section.text,
        language=script.language,
        # Those of other sections are not this one's business.
        pronunciation={w: how for w, how in script.pronunciation.items() if w in said},
        image=section.image,
        seconds=section.seconds,
        lesson=script.title,
        image_file=copies["image_file"],
        voice_file=copies["voice_file"],
    )
    (folder / SECTION).write_text(f"{saved.model_dump_json(indent=2)}\n", "utf-8")
