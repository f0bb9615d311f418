"""What was seen in a scene, as its record states it."""

import json

from engine import Item
from stages.scenes.objects import OBJECTS
from stages.scenes.record import SceneObject


def objects_of_scene(item: Item, made_by: dict[str, str]) -> tuple[SceneObject, ...] | None:
    """The objects of the scene; None where nobody looked for any. Notes in `made_by` who did."""
    if not item.has_input("objects"):
        return None
    found = json.loads((item.input("objects") / OBJECTS).read_text())
    made_by["objects"] = found["made_by"]
    return tuple(SceneObject.model_validate(line) for line in found["objects"])
