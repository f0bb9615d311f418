"""The costs of a lesson that the engine does not know of: calls of services, characters sent."""

import json
from collections.abc import Mapping
from typing import Any

from engine import Item
from stages.lesson.pictures.image import IMAGE_FACTS, LessonImage
from stages.lesson.services.counts import counts_of
from stages.lesson.voices.voice import FACTS, Voice

STEPS = {LessonImage.name: IMAGE_FACTS, Voice.name: FACTS}


def lesson_costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    """{"image calls", "voice calls", "characters spoken"} of one lesson: those that it has asked
    for, whether or not the answers were kept already; after a dry run, those that a run would
    make."""
    costs: dict[str, float] = {}
    for step, file in STEPS.items():
        counted = [one for one in counts_of(item, step) if not one.kept]
        calls, characters = len(counted), sum(one.characters for one in counted)
        for part in item.parts_with(step):
            facts = part.output(step) / file
            if facts.is_file():
                told = json.loads(facts.read_text("utf-8"))
                calls += told["asked"]
                characters += told.get("characters", 0)
        if calls:
            costs[f"{step} calls"] = calls
        if calls and step == Voice.name:
            costs["characters spoken"] = characters
    return costs
