"""What has come of a job: its records, page by page, and its files."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine import writable
from stages.files.folders import files_below
from stages.publishing.records import records_of_item

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
    path = records_of_item(folder)
    if path is None:
        return [], None
    with path.open(encoding="utf-8") as lines:
        if path.suffix == ".json":
            return ([json.load(lines)] if begin == 0 else []), None
        found = [json.loads(line) for line in islice(lines, begin, begin + limit + 1)]
    return found[:limit], begin + limit if len(found) > limit else None


def files_of(folder: Path) -> list[ResultFile]:
    """The files of the item in this folder, ordered by name: those of finished outputs. Blocks."""
    found = islice(files_below(folder), MOST_FILES)
    files = (ResultFile(writable(name), path.stat().st_size) for name, path in found)
    return sorted(files, key=lambda file: file.name)


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
