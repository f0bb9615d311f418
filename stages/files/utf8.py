"""Rows that any file can hold: file names and web pages may contain lone surrogates."""

from collections.abc import Mapping
from typing import Any

from engine import writable


def writable_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `writable` applied to its text values."""
    return {
        name: writable(value) if isinstance(value, str) else value for name, value in row.items()
    }
