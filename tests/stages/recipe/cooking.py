"""A short video, a server that looks at frames and writes recipes, and runs of the pipeline."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import Config, Events, RunReport, load_config, run_pipeline
from stages.recipe.pipeline import recipe
from tests.stages.scenes.describing.words import data_of
from tests.stages.scenes.test_scenes import clip
from tests.stages.vision_server import Request

QUICK = ["stages.download.placement=thread", "limits.free_disk=0", "stages.persist.meaning=off"]


def make_video(path: Path, shots: int = 7) -> Path:
    """A video of 2 s a shot."""
    return clip(path, 50 * shots, tuple(range(50, 50 * shots, 50)))


def looks(request: Request) -> bool:
    """Whether the request asks about a frame."""
    return bool(request.images)


def notes_of(request: Request) -> str:
    seen = hashlib.sha256(request.image).hexdigest()[:8]
    told = {"description": f"A pan, {seen}.", "things": ["2 eggs"], "actions": ["frying"]}
    return json.dumps(told | {"text_seen": []})


def omelette(**more: Any) -> dict[str, Any]:
    return {
        "title": "Omelette",
        "description": "Eggs, folded.",
        "servings": 2,
        "times": {"preparation": 5, "cooking": None, "total": 10},
        "ingredients": [{"name": "eggs", "amount": "2", "at": 1.0}],
        "steps": [
            {"text": "Whisk the eggs.", "start": 0, "end": 2.5},
            {"text": "Fry them in butter.", "start": 2.5, "end": 9},
        ],
    } | more


def says(request: Request) -> str:
    return notes_of(request) if looks(request) else json.dumps(omelette())


def settings(sets: Mapping[str, Any] = {}, flags: Mapping[str, Any] = {}) -> Config:
    told = [f"stages.{name}={value}" for name, value in sets.items()]
    return load_config(recipe, None, {}, [*QUICK, *told], flags)


def run(
    work: Path,
    server: Mapping[str, Any],
    *videos: Path,
    events: Events | None = None,
    flags: Mapping[str, Any] = {},
    **sets: Any,
) -> RunReport:
    """Run it with that server, and settings such as write__prompt."""
    told = {f"analyse.{name}": value for name, value in server.items()}
    told |= {name.replace("__", "."): value for name, value in sets.items()}
    config = settings(told, flags)
    return run_pipeline(recipe, config, work, [str(one) for one in videos], events=events)


def documents(work: Path) -> list[dict[str, Any]]:
    text = (work / "documents" / "documents.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def told_to_write(requests: list[Request]) -> list[Any]:
    """What each request for a document was told."""
    return [data_of(one) for one in requests if not looks(one)]
