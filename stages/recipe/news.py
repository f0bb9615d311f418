"""What a terminal tells while a video is looked at: each frame's notes, and the document."""

import json
from pathlib import Path
from typing import Any

from stages.persistence.records import DOCUMENT
from stages.recipe.writing.analyse import NOBODY, NOTES, AnalyseFrame
from stages.recipe.writing.markdown import clock
from stages.recipe.writing.write import WriteDocument

LONGEST = 150
"""Characters of a line."""


def news(step: str, folder: Path) -> str | None:
    """A line for the notes of a frame, and one for a document; None for all else."""
    if step == AnalyseFrame.name:
        told = _read(folder / NOTES)
        if told is None or told["made_by"] == NOBODY:
            return None
        return _cut(f"frame at {clock(told['at'])}: {told['description']}")
    if step == WriteDocument.name and (told := _read(folder / DOCUMENT)) is not None:
        return _cut(_document(told))
    return None


def _document(told: dict[str, Any]) -> str:
    document = told["document"]
    title = document.get("title") or document.get("name") or "a document"
    lists = [f"{len(v)} {name}" for name, v in document.items() if isinstance(v, list) and v]
    whole = f"document: {title}"
    if lists:
        whole += f" ({', '.join(lists)})"
    return f"{whole}, partial" if told["partial"] else whole


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
