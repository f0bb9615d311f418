"""The script of a lesson: a JSON file, read and checked, with errors that name its lines.

{"title": "How tides work", "language": "en", "sections": [
    {"title": "The Moon pulls", "text": "Twice a day …", "image": "the Moon over a beach"},
    {"text": "…", "image_file": "map.png"}]}
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine import PenstockError

MOST_BYTES = 10_000_000
"""Bytes of a script, at most."""

MOST_TOLD = 10
"""Errors of one script that are told, at most."""


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
        None, ge=0.2, le=3600, description="How long it lasts, at least; without a text, just so."
    )

    @model_validator(mode="after")
    def _says_something(self) -> "ScriptSection":
        if self.text is None and self.voice_file is None and self.seconds is None:
            raise ValueError("has no text; give one, or seconds for a section in silence")
        if self.image is not None and self.image_file is not None:
            raise ValueError("has both image and image_file; keep one")
        return self


class Script(BaseModel):
    """A whole lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    title: str = Field(min_length=1, description="The lesson's title.")
    language: str = Field(
        "en", pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", description="As in BCP 47: en, pt-BR."
    )
    pronunciation: dict[str, str] = Field(
        default_factory=dict, description="How words are said that are read out wrongly otherwise."
    )
    sections: tuple[ScriptSection, ...] = Field(min_length=1, max_length=2000)


def read_script(path: Path) -> Script:
    """The script in this file. Raises ScriptError, and OSError."""
    text = _text(path)
    try:
        given = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ScriptError(
            f"{path.name}, line {error.lineno}, column {error.colno}: no JSON: {error.msg}"
        ) from None
    except _Wrong as error:
        raise ScriptError(f"{path.name}: {error}") from None
    except RecursionError:
        raise ScriptError(f"{path.name}: its lists are nested too deeply") from None
    try:
        script = Script.model_validate(given)
    except ValidationError as error:
        raise ScriptError("\n".join(_told(path.name, text, error))) from None
    return _with_files(script, path, text)


def named_files(script: Script, path: Path) -> list[Path]:
    """The files that the script of this path names."""
    both = ((one.image_file, one.voice_file) for one in script.sections)
    return [path.parent / name for names in both for name in names if name is not None]


def content_of_script(path: Path) -> str:
    """A digest of the script and of every file that it names; of one that cannot be read, of as
    much as there is."""
    digest = hashlib.sha256()
    try:
        digest.update(path.read_bytes())
        for file in named_files(read_script(path), path):
            digest.update(b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except (OSError, ScriptError):
        pass  # the first step says what is wrong
    return digest.hexdigest()[:32]


class _Wrong(Exception):
    pass


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise ScriptError(f"{path.name}: it has over {MOST_BYTES:,} bytes; it is no script")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptError(
            f"{path.name}: byte {error.start} is no UTF-8; save it as UTF-8"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: JSON would take the last, and lose what the first says."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Wrong(f"{name!r} stands twice in one object; keep one of them")
        found[name] = value
    return found


def _no_number(name: str) -> Any:
    raise _Wrong(f"{name} is no number of JSON")


def _told(name: str, text: str, error: ValidationError) -> list[str]:
    errors = error.errors(include_url=False)
    if len(errors) > 1:  # a list whose members are all wrong is called too short as well
        errors = [one for one in errors if one["type"] != "too_short"]
    lines = [
        f"{name}, line {_line(text, one['loc'])}: {_place(one['loc'])}{_message(one)}"
        for one in errors
    ]
    more = len(lines) - MOST_TOLD
    return lines if more <= 0 else [*lines[:MOST_TOLD], f"{name}: and {more} more"]


def _message(error: Any) -> str:
    known = {
        "missing": "is missing",
        "extra_forbidden": "is no field of a script; check its spelling, or take it out",
        "string_too_short": "is empty",
        "too_short": "there are none; give one at least",
    }
    return str(known.get(error["type"], error["msg"].removeprefix("Value error, ")))


def _place(loc: Sequence[Any]) -> str:
    words = ""
    for one in loc:
        words += f"[{one}]" if isinstance(one, int) else f"{'.' if words else ''}{one}"
    return f"{words}: " if words else ""


def _line(text: str, loc: Sequence[Any]) -> int:
    """The line of what `loc` leads to, or of what it is missing in."""
    # JSON is YAML, but for tabs, which stand outside of strings alone: inside they are escaped.
    node: Any = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    for one in loc:
        below = None
        if isinstance(node, yaml.SequenceNode) and isinstance(one, int):
            below = node.value[one]
        elif isinstance(node, yaml.MappingNode):
            below = next((value for key, value in node.value if key.value == one), None)
        if below is None:
            break
        node = below
    return int(node.start_mark.line) + 1


def _with_files(script: Script, path: Path, text: str) -> Script:
    """The script, whose files are all there. They stand beside it, or below: a script from
    elsewhere may not have any file of this machine read out or shown."""
    wrong: list[str] = []
    home = path.parent.resolve()
    for number, section in enumerate(script.sections):
        for field in ("image_file", "voice_file"):
            name = getattr(section, field)
            if name is None:
                continue
            file, where = (home / name).resolve(), ("sections", number, field)
            if not file.is_relative_to(home):
                why = "is not beside the script; copy it there"
            elif not file.is_file():
                why = "is not there"
            else:
                continue
            line = f"{path.name}, line {_line(text, where)}"
            wrong.append(f"{line}: {_place(where)}{name} {why}")
    if wrong:
        raise ScriptError("\n".join(wrong[:MOST_TOLD]))
    return script
