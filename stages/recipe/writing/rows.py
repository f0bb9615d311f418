"""A document as rows that can be searched: the whole, its entries, and the frames."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.recipe.writing.material import Material

_FRAME = "frame"


def rows_of(document: Mapping[str, Any], material: Material) -> list[dict[str, Any]]:
    """A record for the document as a whole, for each entry of its lists, and for each frame with
    notes, as sinks take them. Times are seconds of the video."""
    rows = [_whole(document, material), *_entries(document, material)]
    rows += [frame_row(one.notes) for one in material.frames if one.notes is not None]
    pictures = [one.at for one in material.frames]
    for index, row in enumerate(rows):
        row["index"] = index
        if pictures:
            row["thumbnail"] = picture_name(_shown_at(pictures, row["start"]))
    return rows


def frame_row(notes: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a frame: what was seen in it."""
    seen = {name: value for name, value in notes.items() if name not in ("at", "made_by")}
    return {"label": _FRAME, "start": notes["at"], "end": notes["at"], "objects": seen}


def is_of_frame(row: Mapping[str, Any]) -> bool:
    """Whether a record tells of a frame, and not of the document."""
    return row.get("label") == _FRAME


def picture_name(number: int) -> str:
    """The file of the frame of this number, from 0, in a document's folder."""
    return f"frames/{number:03}.jpg"


def _whole(document: Mapping[str, Any], material: Material) -> dict[str, Any]:
    told = {name: value for name, value in document.items() if not isinstance(value, list)}
    row: dict[str, Any] = {
        "label": "document",
        "start": 0.0,
        "end": material.length,
        "description": told,
    }
    if material.segments:
        row["speech"] = {"segments": list(material.segments)}
    return row


def _entries(document: Mapping[str, Any], material: Material) -> Iterator[dict[str, Any]]:
    for name, entries in document.items():
        for number, entry in enumerate(entries if isinstance(entries, list) else (), 1):
            times = entry if isinstance(entry, Mapping) else {}
            start = _second(times, ("start", "at"), 0.0)
            end = _second(times, ("end", "at"), material.length)
            yield {
                "label": f"{name} {number}",
                "start": start,
                "end": max(start, end),
                "description": entry,
            }


def _second(entry: Mapping[str, Any], names: Sequence[str], default: float) -> float:
    for name in names:
        value = entry.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return max(0.0, float(value))
    return default


def _shown_at(pictures: Sequence[float], second: float) -> int:
    """The number of the last picture at or before that second, or of the first one."""
    return max((number for number, at in enumerate(pictures) if at <= second), default=0)
