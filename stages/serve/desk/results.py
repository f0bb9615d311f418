"""What has come of a job: its records, page by page, and its files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine import writable

RECORDS = (
    ("collect", "scenes.jsonl"),
    ("dedup", "frames.jsonl"),
    ("write", "document.json"),
    ("lesson", "lesson.json"),
)
"""The steps that leave a job's records, each with their file: a record a line, or one in all. The
first one that is there counts."""

OTHER = "records.jsonl"
"""The file of the records of any other pipeline, in whichever step's output."""

MOST_FILES = 10_000
"""The most files of a job that are listed."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of a job's outputs: `name` is its path in the item's folder."""

    name: str
    size: int


def records_of(folder: Path, begin: int, limit: int) -> tuple[list[Any], int | None]:
    """Up to `limit` records of the item in this folder, from the `begin`th on, and where the next
    page begins, None where this is the last one. Blocks."""
    path = _records_file(folder)
    if path is None:
        return [], None
    with path.open(encoding="utf-8") as lines:
        if path.suffix == ".json":
            return ([json.load(lines)] if begin == 0 else []), None
        found = [json.loads(line) for line in islice(lines, begin, begin + limit + 1)]
    return found[:limit], begin + limit if len(found) > limit else None


def files_of(folder: Path) -> list[ResultFile]:
    """The files of the item in this folder, ordered by name: those of finished outputs. Blocks."""
    found = islice(_walk(folder, folder), MOST_FILES)
    return sorted(found, key=lambda file: file.name)


def file_of(folder: Path, name: str) -> Path | None:
    """Where a file of the item really lies; None where there is none, or it may not be sent: it
    lies elsewhere, or belongs to an output that is not finished."""
    if _is_hidden(name):
        return None
    try:
        path = (folder / name).resolve(strict=True)
        is_inside = path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # gone, no path, or links in a circle
        return None
    return path if is_inside and path.is_file() else None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _walk(top: Path, folder: Path) -> Iterator[ResultFile]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(top, path)
        elif path.is_file():
            yield ResultFile(writable(str(path.relative_to(top))), path.stat().st_size)


def _records_file(folder: Path) -> Path | None:
    known = (folder / step / name for step, name in RECORDS)
    other = sorted(folder.glob(f"[!.]*/{OTHER}"))
    return next((path for path in [*known, *other] if path.is_file()), None)
