"""The script of a lesson: a JSON file, read and checked, with errors that name its lines.

{"title": "How tides work", "language": "en", "sections": [
    {"title": "The Moon pulls", "text": "Twice a day …", "image": "the Moon over a beach"},
    {"text": "…", "image_file": "map.png"}]}
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from engine import PenstockError, why_refused
from stages.lesson.scripts.mapping import NotThereError, ScriptMap, Way
from stages.lesson.scripts.places import (
    Lines,
    line_at,
    place_in_words,
    places,
    second_place,
    shown_name,
)

MOST_BYTES = 10_000_000
"""Bytes of a script, at most."""

MOST_TOLD = 10
"""Errors of one script that are told, at most."""

LANGUAGE = r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"
"""As in BCP 47, by its form."""

MOST_SECTIONS = 2000

MOST_DIGITS = 4300
MANY_DIGITS = re.compile(rf"-?\d{{{MOST_DIGITS + 1}}}")

AS_IT_STANDS = ScriptMap({})


class ScriptError(PenstockError):
    """The script cannot be used; a line for each thing that is wrong in it."""


class ScriptSection(BaseModel):
    """What is seen and heard between two cuts."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    title: str | None = Field(
        None, min_length=1, description="Stands on the card, and in chapters."
    )
    text: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("text", "narration"),
        description="What is said.",
    )
    image: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("image", "image_prompt"),
        description="What is to be seen, in words for a model that draws.",
    )
    image_file: str | None = Field(None, min_length=1, description="A picture, beside the script.")
    voice_file: str | None = Field(None, min_length=1, description="A recording of the text.")
    seconds: float | None = Field(
        None,
        ge=0.2,
        le=3600,
        strict=True,
        description="How long it lasts, at least; without a text, just so.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> "ScriptSection":
        if self.text is None and self.voice_file is None and self.seconds is None:
            raise PydanticCustomError(
                "no_text", "has no {text}; give one, or {seconds} for a section in silence"
            )
        if self.image is not None and self.image_file is not None:
            raise PydanticCustomError("two_images", "has both {image} and {image_file}; keep one")
        return self


class Script(BaseModel):
    """A whole lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    editors: Any = Field(None, alias="$schema", description="Where editors find this schema.")
    title: str = Field(min_length=1, description="The lesson's title.")
    language: str = Field("en", pattern=f"^{LANGUAGE}$", description="As in BCP 47: en, pt-BR.")
    pronunciation: dict[str, str] = Field(
        default_factory=dict, description="How words are said that are read out wrongly otherwise."
    )
    sections: tuple[ScriptSection, ...] = Field(min_length=1, max_length=MOST_SECTIONS)


def read_script(path: Path, shape: ScriptMap = AS_IT_STANDS) -> Script:
    """The script in this file, whose fields are where `shape` says. Raises ScriptError, and
    OSError."""
    text = _text(path)
    given = _parsed(path.name, text)
    try:
        shaped = shape.read(given)
    except NotThereError as error:
        where = f"{path.name}, line {Lines(text).of(error.way)}"
        raise ScriptError(f"{where}: {place_in_words(error.way)}: {error}") from None
    wrong = list(_wrong_files(shaped, path.parent.resolve(), shape))
    try:
        script = Script.model_validate(shaped)
    except ValidationError as error:
        wrong += _wrong_fields(shape, error)
    if wrong:
        raise ScriptError("\n".join(_told(path.name, text, wrong)))
    return script


def content_of_script(path: Path) -> str:
    """A digest of the script and of every file beside it that it names, whatever its shape; of one
    that cannot be read, of as much as there is."""
    digest = hashlib.sha256()
    try:
        digest.update(path.read_bytes())
        for file in _named(json.loads(_text(path)), path.parent.resolve()):
            digest.update(b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except (OSError, ValueError, RecursionError, ScriptError):
        pass  # the first step says what is wrong
    return digest.hexdigest()[:32]


def _named(value: Any, home: Path) -> Iterator[Path]:
    """The files below `home` whose names stand somewhere in the value."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _named(one, home)
    elif isinstance(value, str) and "." in value and len(value) <= 255 and "\0" not in value:
        file = (home / value.strip()).resolve()
        if file.is_relative_to(home) and file.is_file():
            yield file


class _WrongNumber(Exception):
    pass


class _Twice(Exception):
    pass


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise ScriptError(f"{path.name}: it has over {MOST_BYTES:,} bytes; it is no script")
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScriptError(
            f"{path.name}, line {line}: byte {error.start} is no UTF-8; save it as UTF-8"
        ) from None


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ScriptError(f"{name}, {where}: no JSON: {error.msg}") from None
    except _WrongNumber as error:
        at = next(one for one in places(text) if text.startswith(str(error), one.begin))
        where = f"{name}, line {line_at(text, at.begin)}: {place_in_words(at.way)}"
        raise ScriptError(f"{where}: {error} is no number of JSON") from None
    except _Twice:
        at = second_place(text)
        where = f"{name}, line {line_at(text, at.begin)}: {place_in_words(at.way)}"
        raise ScriptError(f"{where}: stands twice in one object; keep one of them") from None
    except RecursionError:
        raise ScriptError(f"{name}, line 1: its lists are nested too deeply") from None
    except ValueError:  # what Python refuses of numbers: their digits take long to read
        at = next(one for one in places(text) if MANY_DIGITS.match(text, one.begin))
        where = f"{name}, line {line_at(text, at.begin)}: {place_in_words(at.way)}"
        raise ScriptError(f"{where}: has over {MOST_DIGITS:,} digits") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: JSON would take the last, and lose what the first says."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _no_number(name: str) -> Any:
    raise _WrongNumber(name)


class _Wrong(NamedTuple):
    """What is wrong, and the way to it in the file."""

    way: Way
    why: str


def _wrong_fields(shape: ScriptMap, error: ValidationError) -> Iterator[_Wrong]:
    errors = error.errors(include_url=False)
    if len(errors) > 1:  # a list whose members are all wrong is called too short as well
        errors = [one for one in errors if one["type"] != "too_short"]
    for one in errors:
        yield _Wrong(shape.back(one["loc"]), _message(one, shape))


def _told(name: str, text: str, wrong: Sequence[_Wrong]) -> list[str]:
    """A line for each, in the order of the file's lines."""
    lines = Lines(text)
    placed = sorted(((lines.of(way), way, why) for way, why in wrong), key=lambda one: one[0])
    told = [
        f"{name}, line {line}: {place_in_words(way)}{': ' * bool(way)}{why}"
        for line, way, why in placed[:MOST_TOLD]
    ]
    more = len(wrong) - MOST_TOLD
    return told if more <= 0 else [*told, f"{name}: and {more} more"]


SAME = {"narration": "text", "image_prompt": "image"}
"""Other names of fields."""

WRONG = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "string_type": "is no text; put it in quotes",
    "string_unicode": "holds half a character; write it anew",
    "string_pattern_mismatch": "is no language; write it like en, or pt-BR",
    "float_type": "is no number",
    "greater_than_equal": "is too short; give 0.2 seconds at least",
    "less_than_equal": "is too long; give an hour at most",
    "finite_number": "is no number of seconds",
    "tuple_type": "is no list",
    "dict_type": "is no object with a word and how it is said",
    "model_type": "is no object with fields in {}",
    "too_short": "there are none; give one at least",
    "too_long": f"there are over {MOST_SECTIONS:,}; make several lessons of it",
}
"""What is said, by the kind of error."""


def _message(error: Any, shape: ScriptMap) -> str:
    kind, field = error["type"], error["loc"][-1] if error["loc"] else ""
    if kind in ("no_text", "two_images"):
        names = {one: shape.name_of(one) for one in ("text", "seconds", "image", "image_file")}
        return str(error["msg"]).format(**names)
    if kind == "extra_forbidden":
        if field in SAME:
            return f"says the same as {SAME[field]}; keep one"
        return "is no field of a script; check its spelling, or take it out"
    return WRONG.get(kind) or why_refused(error)


def _wrong_files(shaped: Any, home: Path, shape: ScriptMap) -> Iterator[_Wrong]:
    """The files that are missing. They stand beside the script, or below: one from elsewhere may
    not have any file of this machine read out or shown."""
    sections = shaped.get("sections") if isinstance(shaped, dict) else None
    for number, section in enumerate(sections if isinstance(sections, list) else ()):
        for field in ("image_file", "voice_file"):
            name = section.get(field) if isinstance(section, dict) else None
            if not isinstance(name, str) or not name.strip():
                continue  # the check of the fields says so
            if (why := _why_no_file(home, name.strip())) is not None:
                way = shape.back(("sections", number, field))
                yield _Wrong(way, f"{shown_name(name.strip())} {why}")


def _why_no_file(home: Path, name: str) -> str | None:
    try:
        file = (home / name).resolve()
        if not file.is_relative_to(home):
            return "is not beside the script; copy it there"
        return None if file.is_file() else "is not there"
    except (OSError, ValueError) as error:
        return f"is no name of a file: {error}"
