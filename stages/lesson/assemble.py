"""The assemble stage: the clips of all sections as one video, with captions and chapters."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import engine
from engine import Item, Permanent, Stage, StandIn, setting
from stages.lesson.captions import captions_of, write_vtt
from stages.lesson.clip import CLIP, PICTURES, SOUND, padded
from stages.lesson.film import FilmChapter, FilmPiece, language_code, write_film
from stages.lesson.pictures.card import draw_card
from stages.lesson.pictures.fonts import NoFontError
from stages.lesson.scripts.sections import LESSON, read_section
from stages.lesson.services.counts import is_counted, write_counts
from stages.lesson.still import write_still
from stages.lesson.voices.pcm import write_wav
from stages.media.media_file import open_media

if TYPE_CHECKING:
    from PIL.Image import Image

FILM, CAPTIONS, POSTER, FACTS = "lesson.mp4", "lesson.vtt", "poster.jpg", "lesson.json"

CARD_SECONDS = 4
"""How long the card of a section is shown that could not be made."""


@dataclass(frozen=True, slots=True)
class ShownSection:
    """A section in the film: its clip's folder, and what clip.json says."""

    position: int
    folder: Path
    told: dict[str, Any]


class Assemble(Stage):
    """Put the clips one after the other.

    Of `sections` it reads lesson.json, and of its parts section.json; of `clips`, the parts' clips.
    It writes lesson.mp4 (H.264 as the clips have it, AAC, captions, chapters), lesson.vtt,
    poster.jpg and lesson.json: {"title", "language", "seconds", "sections", "gaps", "made_by"}. In
    a dry run it raises StandIn, with requests.jsonl alone, where a clip is missing for that reason.
    """

    name = "lesson"
    inputs: ClassVar[Any] = ("sections", "clips")
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        on_failure: Literal["placeholder", "skip", "fail"] = setting(
            "placeholder",
            'What is shown of a section that could not be made: "placeholder" (a card that says '
            'so), "skip" (nothing), or "fail" (there is no video without it).',
        )
        audio_bitrate: int = setting(128, "Kilobits a second of AAC.", ge=32, le=320)

    settings: "Assemble.Settings"

    def open(self) -> None:
        language_code("en")  # what this imports takes long, and now the first calls are under way

    def process(self, item: Item, out: Path) -> None:
        if any(is_counted(part.input("clips")) for part in item.parts("clips")):
            write_counts(out, [])
            raise StandIn("nothing, in a dry run")
        lesson = json.loads((item.input("sections") / LESSON).read_text("utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            shown = list(self._shown(item, Path(scratch)))
            self._assemble(lesson, shown, out)
        facts = _facts(lesson, shown) | {"gaps": list(_gaps(item))}
        (out / FACTS).write_text(f"{json.dumps(facts, ensure_ascii=False, indent=2)}\n", "utf-8")

    def _shown(self, item: Item, scratch: Path) -> Iterator[ShownSection]:
        """Every section that is shown, in order. Raises Permanent where there is none."""
        clips = {part.position: part.input("clips") for part in item.parts("clips")}
        if not clips:
            raise Permanent("no section could be made", kind="no_section")
        like = next(iter(clips.values()))
        for part in item.parts("sections"):
            folder = clips.get(part.position)
            if folder is None and self.settings.on_failure == "fail":
                why = why_missing(part)
                raise Permanent(f"section {part.position + 1} is missing: {why}", kind="gap")
            if folder is None and self.settings.on_failure == "placeholder":
                folder = scratch / str(part.position)
                _write_placeholder(part, like, folder)
            if folder is not None:
                yield ShownSection(
                    part.position, folder, json.loads((folder / CLIP).read_text("utf-8"))
                )

    def _assemble(self, lesson: dict[str, Any], shown: list[ShownSection], out: Path) -> None:
        fps, begins = shown[0].told["fps"], _begins(shown)
        captions = captions_of(
            (begin + line["start"], begin + line["end"], line["text"])
            for begin, one in zip(begins, shown, strict=False)
            for line in one.told["said"]
        )
        chapters = [
            FilmChapter(begin, begin + one.told["frames"] / fps, one.told["title"])
            for begin, one in zip(begins, shown, strict=False)
            if one.told["title"]
        ]
        write_film(
            [
                FilmPiece(one.folder / PICTURES, one.folder / SOUND, one.told["frames"])
                for one in shown
            ],
            captions,
            chapters,
            out / FILM,
            title=lesson["title"],
            language=lesson["language"],
            bitrate=self.settings.audio_bitrate * 1000,
        )
        write_vtt(captions, out / CAPTIONS)
        first_picture(shown[0].folder / PICTURES).save(out / POSTER, quality=90)


def _begins(shown: list[ShownSection]) -> list[float]:
    """When each section begins, in seconds, and when the last one ends."""
    frames = [one.told["frames"] for one in shown]
    return [sum(frames[:number]) / shown[0].told["fps"] for number in range(len(shown) + 1)]


def _facts(lesson: dict[str, Any], shown: list[ShownSection]) -> dict[str, Any]:
    begins = _begins(shown)
    sections = [
        {
            "position": one.position,
            "title": one.told["title"],
            "start": round(begin, 3),
            "end": round(end, 3),
            "said": [_at(begin, line) for line in one.told["said"]],
            "made_by": one.told["made_by"],
            **{name: one.told[name] for name in ("stand_ins",) if name in one.told},
        }
        for begin, end, one in zip(begins, begins[1:], shown, strict=False)
    ]
    return {
        "title": lesson["title"],
        "language": lesson["language"],
        "seconds": round(begins[-1], 3),
        "made_by_ai": True,
        "sections": sections,
    }


def _at(begin: float, line: dict[str, Any]) -> dict[str, Any]:
    """A sentence of a clip that begins at that second, with its times in the film."""
    return line | {name: round(begin + line[name], 3) for name in ("start", "end")}


def _gaps(item: Item) -> Iterator[dict[str, Any]]:
    made = {part.position for part in item.parts("clips")}
    for part in item.parts("sections"):
        if part.position not in made:
            title = read_section(part.input("sections")).title
            yield {"position": part.position, "title": title, "why": why_missing(part)}


def why_missing(part: Item) -> str:
    """Why there is no clip of this section."""
    return part.why_failed("clips") or "it could not be made"


def _write_placeholder(part: Item, like: Path, folder: Path) -> None:
    """A clip that says that the section is missing, in the form of the one in `like`."""
    folder.mkdir()
    section, told = (
        read_section(part.input("sections")),
        json.loads((like / CLIP).read_text("utf-8")),
    )
    size = first_picture(like / PICTURES).size
    number = part.position + 1
    card = card_of_missing(size, section.title, section.lesson, number, why_missing(part))
    fps, frames = told["fps"], CARD_SECONDS * told["fps"]
    write_still(card, frames, fps, told["quality"], folder / PICTURES)
    write_wav(padded(None, frames, fps, 0.0), folder / SOUND)
    told.pop("stand_ins", None)
    clip = told | {"title": section.title, "frames": frames, "said": [], "made_by": {}}
    (folder / CLIP).write_text(json.dumps(clip), "utf-8")


def card_of_missing(
    size: tuple[int, int], title: str | None, lesson: str, number: int, why: str
) -> "Image":
    """A card that says that the section of that number is missing. Letters that no font has may be
    the reason: then it has none of the script's."""
    told = f"This section could not be made yet: {why}"
    try:
        return draw_card(size, title or f"Section {number}", told, lesson)
    except NoFontError:
        return draw_card(size, f"Section {number}", told.encode("ascii", "replace").decode())


def first_picture(film: Path) -> Any:
    with open_media(film) as container:
        picture: Any = next(container.decode(video=0))
        return picture.to_image()
