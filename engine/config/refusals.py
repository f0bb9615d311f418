"""What pydantic refuses, in the words of this program: what the value has to be."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

_TEXT, _NUMBER, _WHOLE = "has to be text", "has to be a number", "has to be a whole number"
_OBJECT, _LIST, _TRUTH = "has to be an object", "has to be a list", "has to be true or false"

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "none_required": "has to be null",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "has too many digits",
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": f"{_NUMBER}, and not an infinite one",
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": "has to be text, and holds half a character",
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
    "greater_than": "has to be over {gt}",
    "greater_than_equal": "has to be {ge} at least",
    "less_than": "has to be under {lt}",
    "less_than_equal": "has to be {le} at most",
    "multiple_of": "has to be divisible by {multiple_of}",
    "string_too_short": "has to have {min_length} characters at least",
    "string_too_long": "has to have {max_length} characters at most",
    "string_pattern_mismatch": "has to match {pattern}",
    "too_short": "has to have {min_length} members at least",
    "too_long": "has to have {max_length} members at most",
    "literal_error": "has to be {expected}",
    "enum": "has to be {expected}",
    "json_invalid": "is no JSON",
    "json_type": "is no JSON",
}

_OF_PYDANTIC = frozenset(get_args(ErrorType))

OWN_WORDS = ("value_error", "assertion_error")
"""Kinds of errors that a model's own checks raise: what they say is for people."""


def why_refused(details: Mapping[str, Any]) -> str:
    """What is wrong, in words that go after the value's name; `details` is one of the `errors()` of
    a ValidationError. The words of a model's own checks stay as they are."""
    kind, message = details["type"], " ".join(str(details["msg"]).split())
    if kind in OWN_WORDS:
        return message.partition(", ")[2] or "is not taken as it is"
    if kind not in _OF_PYDANTIC:
        return message
    told = _WORDS.get(kind, "is not taken as it is")
    return told.format(**{name: _shown(one) for name, one in details.get("ctx", {}).items()})


def _shown(value: object) -> object:
    """A bound of 1000.0 is 1000."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
