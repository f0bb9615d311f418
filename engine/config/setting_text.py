"""Settings in words and in TOML: the values that a setting accepts, and how a value is written."""

import json
import re
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text",
    SecretBytes: "text",
    Path: "a path",
    ByteSize: 'a size such as "2 GB"',
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}
_PLACEHOLDERS: dict[Any, Any] = {bool: False, int: 1, float: 1.0, ByteSize: "2 GB"}


def accepted(field: FieldInfo) -> str:
    """The values that a setting accepts, in words: `a whole number over 0, or "auto"`."""
    return _accepted(field.annotation, field.metadata)


def placeholder(field: FieldInfo) -> Any:
    """The setting's example, else a value of the right type, to show the syntax of a setting
    without a default."""
    if field.examples:
        return field.examples[0]
    annotation = _without_none(field.annotation)[0]
    kind = get_origin(annotation) or annotation
    if kind is Literal:
        return get_args(annotation)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    if kind in _PLACEHOLDERS:
        return _PLACEHOLDERS[kind]
    if isinstance(kind, type) and issubclass(kind, (dict, Mapping, BaseModel)):
        return {}
    if isinstance(kind, type) and issubclass(kind, (list, tuple, set, frozenset)):
        return []
    return ""


def accepts_bool(field: FieldInfo) -> bool:
    """Whether the setting takes true and false as such; otherwise pydantic
    would read them as 1 and 0."""
    return not all(
        leaf in (int, float, ByteSize)
        or (get_origin(leaf) is Literal and bool not in map(type, get_args(leaf)))
        for leaf in _without_none(field.annotation)
    )


def table_keys(field: FieldInfo, path: Sequence[str]) -> Mapping[str, FieldInfo] | None:
    """The fields among which the last key of `path` stands, in a setting that is a table of numbers
    or texts, or of tables of settings. None for another setting, or a path of another length."""
    kind, arguments = get_origin(field.annotation), get_args(field.annotation)
    if kind is not dict:
        return None
    if len(path) == 1:
        return {path[0]: FieldInfo.from_annotation(arguments[1])}
    is_model = isinstance(arguments[1], type) and issubclass(arguments[1], BaseModel)
    return arguments[1].model_fields if is_model and len(path) == 2 else None


def is_secret(field: FieldInfo) -> bool:
    """Whether the setting is or holds a secret: its value is kept out of messages and files."""
    return _holds_secret(field.annotation, ())


def without_secrets(field: FieldInfo, dumped: Any) -> list[Any]:
    """The parts of `dumped` that are no secrets; `dumped` is a JSON value of this setting with its
    secrets masked. One value, or none if it is a secret, or a list that has one."""
    return _without_secrets(field.annotation, dumped)


def toml_key(key: str) -> str:
    """The key in TOML: bare where TOML allows it, else quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_string(key)


def toml_value(value: Any) -> str:
    """A JSON-like value as one line of TOML. Raises ValueError for None, which TOML lacks."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)  # "inf" and "nan" are the same in both languages
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(key)} = {toml_value(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(toml_value(inner) for inner in value)}]"
    raise ValueError(f"TOML cannot say {value!r}")


def _toml_string(text: str) -> str:
    # JSON's escapes are valid in TOML. Only DEL differs: JSON allows it raw, TOML forbids it.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _accepted(annotation: Any, metadata: Sequence[Any]) -> str:
    kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Annotated:
        return _accepted(arguments[0], [*arguments[1:], *metadata])
    if kind in (Union, types.UnionType):
        return ", or ".join(_accepted(one, metadata) for one in arguments if one is not type(None))
    if kind is Literal:
        return " or ".join(toml_value(choice) for choice in arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(toml_value(choice.value) for choice in kind)
    return " ".join([_type_words(kind, arguments), *_bounds(metadata)])


def _type_words(kind: Any, arguments: Sequence[Any]) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, (dict, Mapping, BaseModel)):
        return "a table"
    if kind is tuple and Ellipsis not in arguments and arguments:
        return f"a list of {len(arguments)}: {', '.join(_accepted(one, ()) for one in arguments)}"
    if isinstance(kind, type) and issubclass(kind, (list, tuple, set, frozenset)):
        if not arguments:
            return "a list"
        plural = _PLURALS.get(arguments[0])
        return f"a list of {plural}" if plural else f"a list, each {_accepted(arguments[0], ())}"
    return str(getattr(kind, "__name__", kind))


def _bounds(metadata: Sequence[Any]) -> list[str]:
    least, most = _bound(metadata, "ge"), _bound(metadata, "le")
    if least is not None and most is not None:
        return [f"from {least} to {most}"]
    words = []
    for name, phrase in (
        ("gt", "over {}"),
        ("ge", "of at least {}"),
        ("lt", "under {}"),
        ("le", "of at most {}"),
        ("multiple_of", "divisible by {}"),
        ("min_length", "at least {} long"),
        ("max_length", "at most {} long"),
        ("pattern", "matching {}"),
    ):
        if (bound := _bound(metadata, name)) is not None:
            words.append(phrase.format(bound))
    return [" and ".join(words)] if words else []


def _bound(metadata: Sequence[Any], name: str) -> Any:
    return next(
        (value for one in metadata if (value := getattr(one, name, None)) is not None), None
    )


def _without_none(annotation: Any) -> list[Any]:
    """The member types of a union, without None and without the Annotated wrapper."""
    kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Annotated:
        return _without_none(arguments[0])
    if kind in (Union, types.UnionType):
        return [leaf for one in arguments if one is not type(None) for leaf in _without_none(one)]
    return [annotation]


def _holds_secret(annotation: Any, seen: tuple[Any, ...]) -> bool:
    """`seen` are the enclosing models: a model may hold its own kind."""
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, (Secret, SecretBytes, SecretStr)):
        return True
    parts = list(get_args(annotation))
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen = (*seen, kind)
        parts += [field.annotation for field in kind.model_fields.values()]
    return any(_holds_secret(part, seen) for part in parts)


def _without_secrets(annotation: Any, dumped: Any) -> list[Any]:
    if dumped is None or not _holds_secret(annotation, ()):
        return [dumped]
    [kind, *others] = _without_none(annotation)
    if others or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    left = {}
    for key, value in dumped.items():
        field = kind.model_fields.get(key)
        for kept in [value] if field is None else _without_secrets(field.annotation, value):
            left[key] = kept
    return [left]
