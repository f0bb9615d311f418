"""Where the records of an item are: one table for all who read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDS = (
    ("collect", "scenes.jsonl"),
    ("dedup", "frames.jsonl"),
    ("write", "document.json"),
    ("lesson", "lesson.json"),
)
"""The steps that leave an item's records, each with their file: a record a line, or one in all. The
first one that is there counts."""

OTHER = "records.jsonl"
"""The file of the records of any other pipeline, in whichever step's output."""

TOLD = ("url", "expires", "address", "key", "size", "sha256", "records", "files")
"""What is told of a result to those who asked for it."""

PUBLISH, PUBLISHED = "publish", "publish.json"
"""The step that puts an item's result into an object store, and its file: where that is."""


def records_of_item(folder: Path) -> Path | None:
    """The file of the records of the item in this folder; None where there is none."""
    known = (folder / step / name for step, name in RECORDS)
    other = sorted(folder.glob(f"[!.]*/{OTHER}"))
    return next((path for path in [*known, *other] if path.is_file()), None)


def records_of_output(output: Path) -> Path | None:
    """The file of the records in a step's output; None where there is none."""
    known = (output / name for step, name in RECORDS if step == output.name)
    return next((path for path in [*known, output / OTHER] if path.is_file()), None)


def read_result(folder: Path) -> Mapping[str, Any] | None:
    """Where the result of the item in this folder was put, and how long its link holds, as those
    are told who asked for it. None where it was put nowhere."""
    return read_published(folder / PUBLISH)


def read_published(output: Path) -> Mapping[str, Any] | None:
    """The same, by the output of the step; None where that is not there, or damaged."""
    try:
        told = json.loads((output / PUBLISHED).read_text("utf-8"))
        return {name: told[name] for name in TOLD}
    except (OSError, ValueError, KeyError, TypeError):
        return None
