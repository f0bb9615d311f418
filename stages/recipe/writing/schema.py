"""A document's form as a JSON Schema: read at the edge, and held against what a model wrote."""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from engine import UsageError

LARGEST = 200_000
"""Bytes of a schema's file, at most: every request carries it."""

MOST_TOLD = 8
"""Problems of a document that are told, at most."""

LATE = 1.0
"""Seconds by which a time may lie after a video's end: lengths are rounded."""

TIMES = ("at", "start", "end")
"""Fields by these names are seconds of the video, where they are numbers."""


def check_installed() -> None:
    """Raises UsageError where the package that checks documents is missing."""
    if find_spec("jsonschema") is None:
        raise UsageError(
            "documents are held against their schema, which takes a package: "
            "pip install 'penstock[recipe]'"
        )


def read_schema(path: Path) -> dict[str, Any]:
    """The schema in a file. Raises UsageError, in one line, where it is none, or one that cannot be
    used: of anything but an object, or that needs another file."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--schema {path}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise UsageError(f"--schema {path}: it has over {LARGEST // 1000} kB; give a shorter one")
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "it"
        raise UsageError(f"--schema {path}: {where} is no JSON: {_line(error)}") from None
    if not isinstance(schema, dict):
        raise UsageError(f"--schema {path}: a JSON Schema is an object, {{...}}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "the schema"
        raise UsageError(f"--schema {path}: {place}: {_line(error.message)}") from None
    if schema.get("type") != "object" or not schema.get("properties"):
        raise UsageError(
            f'--schema {path}: a document is an object: it needs "type": "object" and "properties"'
        )
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise UsageError(
                f"--schema {path}: {reference} is another file; put it under $defs, and refer to "
                "#/$defs/NAME"
            )
        if reference.startswith("#/") and not _is_there(schema, reference):
            raise UsageError(f"--schema {path}: {reference} is not in it")
    return schema


def problems_of(schema: Mapping[str, Any], document: Any, length: float) -> list[str]:
    """What is wrong with a document by its schema, a line each; and times that lie outside of a
    video of so many seconds, or end before they begin."""
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: nothing that a schema names is fetched.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        errors = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    except Unresolvable as error:
        return [f"the schema refers to what is not in it: {error.ref}"]
    told = [f"{error.json_path.removeprefix('$.')}: {_line(error.message)}" for error in errors]
    return [*told, *_wrong_times(document, length, "")][:MOST_TOLD]


def is_strict(schema: Any) -> bool:
    """Whether servers that want every field required, and none besides, take it."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if "properties" in schema:
        names = set(schema["properties"])
        if set(schema.get("required", ())) != names or schema.get("additionalProperties") is True:
            return False
        if schema.get("additionalProperties", True) is not False:
            return False
        return all(map(is_strict, schema["properties"].values()))
    loose = {"oneOf", "allOf", "not", "if", "patternProperties", "prefixItems"}
    return not loose & set(schema) and all(map(is_strict, schema.values()))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(inner, str):
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _is_there(schema: Any, reference: str) -> bool:
    """Whether a JSON pointer leads somewhere."""
    for step in reference.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and name.isdecimal() and int(name) < len(schema):
            schema = schema[int(name)]
        elif isinstance(schema, dict) and name in schema:
            schema = schema[name]
        else:
            return False
    return True


def _wrong_times(value: Any, length: float, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        times = {name: value[name] for name in TIMES if _is_number(value.get(name))}
        for name, time in times.items():
            if not 0 <= time <= length + LATE:
                yield f"{place}{name}: {time:g} s is outside of the video, which has {length:.1f} s"
        if "start" in times and "end" in times and times["end"] < times["start"]:
            yield f"{place}end: it ends before it begins"
        for name, inner in value.items():
            yield from _wrong_times(inner, length, f"{place}{name}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _wrong_times(inner, length, f"{place.removesuffix('.')}[{number}].")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(told: object) -> str:
    text = " ".join(str(told).split())
    return text if len(text) <= 200 else f"{text[:199]}…"
