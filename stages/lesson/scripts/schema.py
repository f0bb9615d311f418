"""The JSON Schema of scripts, for editors: they check a script while it is written."""

from typing import Any

from stages.lesson.scripts.script import LANGUAGE, SAME, Script

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SPEAKS = ("text", "narration", "voice_file", "seconds")
"""Fields of which a section has one at least."""

ONCE = (("text", "narration"), ("image", "image_prompt"))
"""Fields that say the same."""


def script_schema() -> dict[str, Any]:
    """The schema: what it takes, `read_script` takes too, if the files are there."""
    whole = Script.model_json_schema()
    section = whole.pop("$defs")["ScriptSection"]
    told = section["properties"]
    for other, name in SAME.items():
        told[other] = told[name]
    both = ([_given(one), _given("image_file")] for one in ("image", "image_prompt"))
    section["allOf"] = [
        {"anyOf": [_given(name) for name in SPEAKS]},
        *({"not": {"required": list(pair)}} for pair in ONCE),
        *({"not": {"allOf": pair}} for pair in both),
    ]
    whole["properties"]["sections"]["items"] = section
    whole["properties"]["language"]["pattern"] = rf"^\s*{LANGUAGE}\s*$"
    whole = _tidy(whole)
    return {"$schema": DIALECT, "title": "A lesson's script", **whole}


def _given(name: str) -> dict[str, Any]:
    """Whether the field is there, and not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _tidy(value: Any) -> Any:
    """Without what only repeats the names and says nothing; texts are more than white space."""
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: _tidy(one)
        for name, one in value.items()
        if not (name == "title" and isinstance(one, str)) and not (name == "default" and not one)
    }
    if kept.get("type") == "string" and kept.pop("minLength", 0):
        kept["pattern"] = r"\S"
    return kept
