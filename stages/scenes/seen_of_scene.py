"""What was seen in a scene, as its record states it."""

import json
from collections.abc import Sequence

from engine import Item
from stages.scenes.perception.captions import CAPTIONS
from stages.scenes.perception.objects import OBJECTS
from stages.scenes.record import Caption, Frame, SceneObject


def objects_of_scene(item: Item, made_by: dict[str, str]) -> tuple[SceneObject, ...] | None:
    """The objects of the scene; None where nobody looked for any. Notes in `made_by` who did."""
    if not item.has_input("objects"):
        return None
    found = json.loads((item.input("objects") / OBJECTS).read_text())
    made_by["objects"] = found["made_by"]
    return tuple(SceneObject.model_validate(line) for line in found["objects"])


def captions_of_scene(
    item: Item, frames: Sequence[Frame], made_by: dict[str, str]
) -> tuple[Caption, ...] | None:
    """The captions of the frames; None where nobody made any. Notes in `made_by` who did."""
    if not item.has_input("captions"):
        return None
    found = json.loads((item.input("captions") / CAPTIONS).read_text())
    made_by["captions"] = found["made_by"]
    times = {frame.file: frame.timestamp for frame in frames}
    return tuple(
        Caption(timestamp=times[line["frame"]], text=line["text"]) for line in found["captions"]
    )
