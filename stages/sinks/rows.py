"""A scene as a row of a flat table."""

from collections.abc import Mapping
from typing import Any

from engine import writable
from stages.sinks.sink import Record
from stages.sinks.texts import texts_of


def row_of(document: Record, record: Record) -> dict[str, Any]:
    """The scene's row: its video, its place and times, the text of each column, the thumbnail. What
    is not there is None."""
    return {
        "video": _text(document, "video"),
        "source": _text(document, "source"),
        "title": _text(document, "title"),
        "scene": record["index"],
        "start": record["start"],
        "end": record["end"],
        **{column: text or None for column, text in texts_of(record).items()},
        "thumbnail": _text(record, "thumbnail"),
    }


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    return writable(value) if isinstance(value, str) else None
