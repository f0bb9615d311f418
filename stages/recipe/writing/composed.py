"""A document without a model: what is known of the video anyway, and nothing else."""

from collections.abc import Mapping
from typing import Any

from stages.recipe.writing.material import Material

NO_MODEL = "no model was asked: only what is known without one is in it"

TITLES = ("title", "name")
TEXTS = ("description", "summary", "text")


def compose_document(schema: Mapping[str, Any], material: Material) -> dict[str, Any]:
    """The fields that the schema has and that are known: the title, the page's own description.
    Lists are empty and the rest null, where the schema takes that; else they are missing."""
    known: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if name in TITLES and material.title:
            known[name] = material.title
        elif name in TEXTS and material.description:
            known[name] = material.description
        else:
            known |= _empty(name, field)
    return known


def _empty(name: str, field: Any) -> dict[str, Any]:
    if not isinstance(field, Mapping):
        return {}
    if "properties" in field:
        inner: dict[str, Any] = {}
        for each, within in field["properties"].items():
            inner |= _empty(each, within)
        return {name: inner}
    kinds = field.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    for kind, value in (("null", None), ("array", []), ("string", "")):
        if kind in kinds and not (kind == "string" and field.get("minLength")):
            return {name: value}
    return {}
