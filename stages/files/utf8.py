"""Text that any file can hold: file names and web pages may contain lone surrogates."""

from collections.abc import Mapping
from typing import Any


def writable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def writable_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `writable` applied to its text values."""
    return {
        name: writable(value) if isinstance(value, str) else value for name, value in row.items()
    }
