"""Files of JSON objects, one a line, in UTF-8."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def json_line(entry: Mapping[str, Any]) -> str:
    """The object as a line, with its line break."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a complete file, in order."""
    with path.open(encoding="utf-8") as file:
        # Not str.splitlines(), which also splits at characters that JSON strings may hold.
        return [json.loads(line) for line in file]


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a file anew."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(entry) for entry in entries)


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one object to a file that grows over many runs; a missing file is made.

    For one writer at a time. Read it with `read_whole_lines`: a crash may leave the last line
    incomplete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # a crash cut the last line off: begin a new one
                file.write(b"\n")
        file.write(f"{json.dumps(entry)}\n".encode())


def read_whole_lines(path: Path) -> Iterator[Any]:
    """The values of a file that grows, without incomplete lines; none if it is missing.

    A value need not be an object.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
