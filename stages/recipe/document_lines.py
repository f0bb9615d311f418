"""The lines of documents.jsonl while a run goes on: each video's as soon as it has ended."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.files.json_lines import json_line

LINES = "documents.jsonl"
SCRATCH = ".lines"


def set_line(folder: Path, video: str, line: Mapping[str, Any] | None, *, is_new: bool) -> None:
    """Have the file hold this line of the video, and no other; None: none.

    The line of a video that `is_new` is put at the end, however many there are. Else the file is
    read, and written anew where that line is not there already. A reader finds whole lines, but for
    a last one that is being written; what a process that was killed left of one goes.
    """
    file = folder / LINES
    text = json_line(line).encode() if line is not None else b""
    if is_new and _ends_whole(file):
        with file.open("ab") as lines:
            lines.write(text)
            lines.flush()
            os.fsync(lines.fileno())
        return
    if [one for one, of in _lines(file) if of == video] == ([text] if text else []):
        return
    fresh = folder / SCRATCH
    with fresh.open("wb") as lines:
        lines.writelines(one for one, of in _lines(file) if of not in (video, None))
        lines.write(text)
        lines.flush()
        os.fsync(lines.fileno())
    fresh.replace(file)


def _ends_whole(file: Path) -> bool:
    if not file.is_file() or not (size := file.stat().st_size):
        return True
    with file.open("rb") as lines:
        lines.seek(size - 1)
        return lines.read() == b"\n"


def _lines(file: Path) -> Iterator[tuple[bytes, str | None]]:
    """Each line and its video, None where it is no whole line."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                yield line, json.loads(line)["video"] if line.endswith(b"\n") else None
            except (ValueError, KeyError, TypeError):
                yield line, None
