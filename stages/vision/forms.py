"""Answers as JSON by a schema: the schema for each protocol, and reading an answer by it."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from engine import why_refused

Form = TypeVar("Form", bound=BaseModel)

_MOST_SAID = 300
"""Characters of an objection to an answer."""


class UnfitAnswer(ValueError):
    """An answer does not fit its schema. The message is one line, to show to the model."""


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a form, as strict servers want it: every field required, none besides,
    nothing by reference, no bounds."""
    whole = form.model_json_schema()
    plain: dict[str, Any] = _plain(whole, whole.get("$defs", {}))
    return plain


def _plain(schema: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _plain(named[schema["$ref"].rpartition("/")[2]], named)
    kept: dict[str, Any] = {key: schema[key] for key in ("type", "description") if key in schema}
    if "properties" in schema:
        fields = {name: _plain(field, named) for name, field in schema["properties"].items()}
        kept |= {"properties": fields, "required": [*fields], "additionalProperties": False}
    if "items" in schema:
        kept["items"] = _plain(schema["items"], named)
    return kept


def gemini_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same as Gemini's responseSchema, a part of OpenAPI's: types in capitals, the order of the
    fields, and no additionalProperties."""
    found: dict[str, Any] = dict(schema)
    found.pop("additionalProperties", None)
    found["type"] = schema["type"].upper()
    if "properties" in schema:
        fields = schema["properties"]
        found["properties"] = {name: gemini_schema(field) for name, field in fields.items()}
        found["propertyOrdering"] = [*fields]
    if "items" in schema:
        found["items"] = gemini_schema(schema["items"])
    return found


def read_form(form: type[Form], answer: str) -> Form:
    """The form that a model filled in. Raises UnfitAnswer."""
    found = read_object(answer)
    try:
        return form.model_validate(found)
    except ValidationError as error:
        told = [
            f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {why_refused(one)}"
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise UnfitAnswer(_short("; ".join(told))) from None


def read_object(answer: str) -> Any:
    """The JSON in an answer; what surrounds its object, such as a code fence, is left out. Raises
    UnfitAnswer."""
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        return json.loads(answer[begin : end + 1] if begin >= 0 else answer)
    except (ValueError, RecursionError) as error:
        cut = begin >= 0 and answer.count("{") > answer.count("}")
        why = "it ends in the middle" if cut else str(error)
        raise UnfitAnswer(_short(f"it is no JSON: {why}")) from None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 1]}…"
