"""What the benchmark of the engine runs: five stages in a row that do next to nothing."""

from collections.abc import Callable
from typing import Any

from engine import SOURCE, Pipeline, Stage, Step
from engine.config.load import Config, load_config

STAGES = 5
QUEUE = 16
HOP = "us an item a stage"
"""The figure that most contestants are compared by."""


def stages_of(process: Callable[..., Any]) -> Pipeline:
    """Five stages in a row whose `process` is this."""
    stages = [type(f"S{number}", (Stage,), {"process": process}) for number in range(STAGES)]
    after = [SOURCE, *(stage.name for stage in stages)]
    steps = [Step(stage, before) for stage, before in zip(stages, after, strict=False)]
    return Pipeline("overhead", "Five stages that do next to nothing.", steps)


def configured(pipeline: Pipeline, workers: int, *, sync: bool = True) -> Config:
    """With so many workers a stage, QUEUE items before each, and outputs synced or not."""
    given = ["limits.free_disk=0", f"limits.sync={str(sync).lower()}"]
    for name in pipeline.names:
        given += [f"stages.{name}.workers={workers}", f"stages.{name}.queue={QUEUE}"]
    return load_config(pipeline, None, {}, given, {})
