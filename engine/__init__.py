"""Penstock's engine: pools of workers joined by bounded inboxes. It knows nothing of video."""

from engine.errors import (
    ConfigError,
    Drop,
    Ending,
    PenstockError,
    Permanent,
    PipelineError,
    StopRun,
    Throttled,
    Transient,
    UsageError,
    WorkFolderError,
)
from engine.item import Item, MissingOutput
from engine.pipeline import SOURCE, Check, FinishContext, Flag, ItemRecord, Pipeline, Step
from engine.stage import (
    Cancelled,
    Produced,
    Settings,
    Stage,
    StageOptions,
    checkpoint,
    setting,
)

__all__ = [
    "SOURCE",
    "Cancelled",
    "Check",
    "ConfigError",
    "Drop",
    "Ending",
    "FinishContext",
    "Flag",
    "Item",
    "ItemRecord",
    "MissingOutput",
    "PenstockError",
    "Permanent",
    "Pipeline",
    "PipelineError",
    "Produced",
    "Settings",
    "Stage",
    "StageOptions",
    "Step",
    "StopRun",
    "Throttled",
    "Transient",
    "UsageError",
    "WorkFolderError",
    "checkpoint",
    "setting",
]
