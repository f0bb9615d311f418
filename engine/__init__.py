"""Penstock's engine: pools of workers joined by bounded inboxes, for any pipeline."""

from engine.contract.deadline import Deadline, deadline
from engine.contract.errors import (
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
from engine.contract.item import Item, MissingOutput
from engine.contract.pipeline import (
    SOURCE,
    Check,
    FinishContext,
    Flag,
    ItemRecord,
    PageContext,
    Pipeline,
    Section,
    Step,
)
from engine.contract.showing import shown, shown_in
from engine.contract.stage import (
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
    "Deadline",
    "Drop",
    "Ending",
    "FinishContext",
    "Flag",
    "Item",
    "ItemRecord",
    "MissingOutput",
    "PageContext",
    "PenstockError",
    "Permanent",
    "Pipeline",
    "PipelineError",
    "Produced",
    "Section",
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
    "deadline",
    "setting",
    "shown",
    "shown_in",
]
