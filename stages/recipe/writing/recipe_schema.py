"""The form of a recipe: what is written unless another form is given."""

from collections.abc import Mapping
from typing import Any

_SECOND = {"type": ["number", "null"]}
_MINUTES = {"type": ["number", "null"]}


def _object(**fields: Mapping[str, Any]) -> dict[str, Any]:
    """An object with just these fields, all of them."""
    return {
        "type": "object",
        "properties": fields,
        "required": [*fields],
        "additionalProperties": False,
    }


def _described(field: Mapping[str, Any], told: str) -> dict[str, Any]:
    return {**field, "description": told}


RECIPE: Mapping[str, Any] = _object(
    title=_described({"type": "string"}, "The name of the dish."),
    description=_described({"type": "string"}, "One or two sentences on the dish."),
    servings=_described(
        {"type": ["integer", "null"]}, "How many people it serves; null where nothing says so."
    ),
    times=_object(
        preparation=_described(_MINUTES, "Minutes; null where nothing says so."),
        cooking=_described(_MINUTES, "Minutes in the pan or the oven; null likewise."),
        total=_described(_MINUTES, "Minutes in all; null likewise."),
    ),
    ingredients={
        "type": "array",
        "description": "Each once, in the order of use.",
        "items": _object(
            name=_described({"type": "string"}, "What it is."),
            amount=_described(
                {"type": ["string", "null"]},
                "With its unit, as it was seen or said: '200 g'; null where it was not.",
            ),
            at=_described(_SECOND, "The second of the video at which it is first seen or heard."),
        ),
    },
    steps={
        "type": "array",
        "description": "What is done, in order.",
        "items": _object(
            text=_described({"type": "string"}, "One or two sentences, as an instruction."),
            start=_described(_SECOND, "The second of the video at which it begins."),
            end=_described(_SECOND, "The second at which it ends."),
        ),
    },
)

RECIPE_PROMPT = (
    "You write the recipe that a cooking video shows, from notes of some of its frames, in order, "
    "and from what is said in it, where that is known. Amounts are those that were seen or said: "
    "make up none. Times are seconds of the video, taken from the notes and the words; null where "
    "they do not tell. State only what the notes and the words say."
)

DOCUMENT_PROMPT = (
    "You write a document about a video, by a given form, from notes of some of its frames, in "
    "order, and from what is said in it, where that is known. Fields named at, start and end are "
    "seconds of the video. State only what the notes and the words say; leave empty, or null, what "
    "they do not tell."
)
