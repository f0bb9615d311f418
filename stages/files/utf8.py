"""Text that any file can hold: names of files and words of pages may have lone surrogates."""

from collections.abc import Mapping
from typing import Any


def writable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def writable_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same of every text that is a value of the row."""
    return {
        name: writable(value) if isinstance(value, str) else value for name, value in row.items()
    }
