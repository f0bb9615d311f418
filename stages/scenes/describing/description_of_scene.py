"""A scene's description, as its record states it, or the gap in its place."""

import json
from typing import Any

from engine import Item
from stages.scenes.describing.describe import DESCRIPTION

NOT_DESCRIBED = "it was not described: `penstock status` says why"


def with_description(record: dict[str, Any], part: Item) -> dict[str, Any]:
    """The record with what `descriptions` has for this part."""
    if not part.has_input("descriptions"):
        why = part.why_failed("descriptions") or NOT_DESCRIBED
        gap = {"branch": "description", "why": why, "start": None, "end": None}
        return record | {"gaps": [*record["gaps"], gap]}
    file = part.input("descriptions") / DESCRIPTION
    if not file.is_file():  # a dry run's
        return record
    told = json.loads(file.read_text())
    made_by = record["made_by"] | {"description": told.pop("made_by")}
    return record | {"description": told, "made_by": made_by}
