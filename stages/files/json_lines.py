"""Files of JSON objects, one a line, in UTF-8."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def json_line(entry: Mapping[str, Any]) -> str:
    """The line of an object, with its end."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that is whole, in order."""
    with path.open(encoding="utf-8") as file:
        # Not str.splitlines(), which also ends lines where JSON does not.
        return [json.loads(line) for line in file]


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a file anew."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(entry) for entry in entries)


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one object to a file that grows over many runs; it is made if it is missing.

    For one writer at a time. Read it with `read_whole_lines`: a crash may tear the last line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # a crash tore the last line: this one starts its own
                file.write(b"\n")
        file.write(f"{json.dumps(entry)}\n".encode())


def read_whole_lines(path: Path) -> Iterator[Any]:
    """The values of a file that grows, without what a crash left of a line; none if it is missing.

    What a line holds need not be an object, either.
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
