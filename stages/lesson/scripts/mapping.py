"""Scripts of another shape: settings say where their title, sections and texts are."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine import PenstockError
from stages.lesson.scripts.places import place_in_words

WHOLE = ("title", "language", "pronunciation", "sections")
OF_SECTION = {
    "section_title": "title",
    "text": "text",
    "image": "image",
    "image_file": "image_file",
    "voice_file": "voice_file",
    "seconds": "seconds",
}
"""The names of a section's fields in a map, and in a script."""

NAMES = (*WHOLE, *OF_SECTION)

Way = tuple[str | int, ...]


class NotThereError(PenstockError):
    """The map leads to nothing in this script, or not to a list of sections. `way` is how far."""

    def __init__(self, way: Way, told: str) -> None:
        super().__init__(told)
        self.way = way


class ScriptMap:
    """Where the fields of a script are in JSON of another shape.

    `names` has a dotted path for each field that has another name there: of `title`, `language`,
    `pronunciation` and `sections` from the beginning of the file on, of all others (with
    `section_title`) from that of a section. A number in a path counts the members of a list. With a
    map, what it does not name and no script has is none of a lesson's business; without one,
    nothing may be there that a script has not.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._ways = {name: _way_of(path) for name, path in names.items()}

    def read(self, given: Any) -> Any:
        """The script in this JSON. Raises NotThereError."""
        if not self._ways:
            return given
        script = self._taken(given, {name: name for name in WHOLE})
        if "sections" not in script:
            told = "is not there, and stages.sections.map says that the sections are"
            raise NotThereError(self._way("sections"), told)
        if isinstance(script["sections"], list):
            script["sections"] = [self._section(one) for one in script["sections"]]
        return script

    def back(self, way: Sequence[str | int]) -> Way:
        """Where in the file the field of a script is."""
        match tuple(way):
            case ("sections", int(number), str(field), *rest):
                names = {mine: name for name, mine in OF_SECTION.items()}
                own = self._way(names[field]) if names.get(field) in self._ways else (field,)
                return (*self._way("sections"), number, *own, *rest)
            case (str(field), *rest):
                return (*self._way(field), *rest)
        return tuple(way)

    def name_of(self, field: str) -> str:
        """What a section's field is called in the file."""
        return place_in_words(self._way(field))

    def _section(self, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kept = self._taken(given, OF_SECTION)
        for other, name in (("narration", "text"), ("image_prompt", "image")):
            if name not in self._ways and name not in kept and other in given:
                kept[other] = given[other]
        return kept

    def _taken(self, given: Any, fields: Mapping[str, str]) -> dict[str, Any]:
        """The fields that there are, by their names in a script."""
        found = {}
        for name, field in fields.items():
            value = given
            for step in self._way(name):
                value = _below(value, step)
            if value is not None:
                found[field] = value
        return found

    def _way(self, name: str) -> Way:
        return self._ways.get(name, (OF_SECTION.get(name, name),))


def _way_of(path: str) -> Way:
    return tuple(int(one) if one.isdecimal() else one for one in path.split("."))


def _below(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None
