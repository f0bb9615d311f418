"""A settings file as TOML has it, with the line of each setting for messages."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import ConfigError


@dataclass(frozen=True)
class TomlFile:
    """`lines` gives the number of the line of each table and key, by dotted name."""

    path: Path
    document: Mapping[str, Any]
    lines: Mapping[str, int]

    def place_of(self, dotted: str) -> str:
        """Where the setting stands: "config.toml, line 4"."""
        within = (line for name, line in self.lines.items() if name.startswith(f"{dotted}."))
        line = self.lines.get(dotted) or next(within, None)
        return f"{self.path}, line {line}" if line else str(self.path)


def read_toml(file: Path) -> TomlFile:
    """Raises ConfigError where the file is not there, or no valid TOML."""
    text = _read(file)
    try:
        return TomlFile(file, tomllib.loads(text), _line_numbers(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {_toml_problem(error, text)}") from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not UTF-8 text at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _toml_problem(error: tomllib.TOMLDecodeError, text: str) -> str:
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place:
        return f"line {place[1]}, column {place[2]}: {message[: place.start()]}"
    line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
    return f"line {line}, column {column}: {message.removesuffix(' (at end of document)')}"


def _line_numbers(text: str) -> dict[str, int]:
    """The line of each table and key, as far as plain text search finds it:
    enough for a message."""
    numbers: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = _plain_key(header[1])
            numbers.setdefault(table, number)
        elif pair := re.match(r"\s*([\w\s.\"'-]+?)\s*=", line):
            key = _plain_key(pair[1])
            numbers.setdefault(f"{table}.{key}" if table else key, number)
    return numbers


def _plain_key(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
