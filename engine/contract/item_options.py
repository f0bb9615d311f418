"""Options: an item's own values of settings, where a stage takes them item by item."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

PER_ITEM = "per_item"
"""The mark of a setting of which an item may have its own value."""

Model = TypeVar("Model", bound=BaseModel)


def is_per_item(settings: type[BaseModel], key: str) -> bool:
    field = settings.model_fields.get(key)
    extra = field.json_schema_extra if field is not None else None
    return isinstance(extra, dict) and bool(extra.get(PER_ITEM))


def with_options(settings: Model, step: str, options: Mapping[str, Any]) -> Model:
    """The settings with those values in their places that `options` have for this step, by
    "STEP.KEY". Raises pydantic's ValidationError where one is invalid, or does not go with the
    others."""
    kind, given = type(settings), {}
    for name, value in options.items():
        owner, _, key = name.partition(".")
        if owner == step and is_per_item(kind, key):
            given[key] = value
    return kind.model_validate(dict(settings) | given) if given else settings
