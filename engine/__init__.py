"""Penstock's engine: pools of workers joined by bounded inboxes, for any kind of item.

This package is the public door for authors of stages and pipelines, and for programs that embed the
engine. The names that run a pipeline are imported on first use, since most programs that define one
never run it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from engine.contract.deadline import Deadline, deadline
from engine.contract.errors import (
    ConfigError,
    Drop,
    Ending,
    PenstockError,
    Permanent,
    PipelineError,
    Skip,
    StandIn,
    StopRun,
    Throttled,
    Transient,
    UsageError,
    Withdrawn,
    WorkFolderError,
)
from engine.contract.item import Item, MissingOutput, id_with_options
from engine.contract.job import Job, JobOutcome
from engine.contract.lending import Loan, borrow
from engine.contract.ownership import ensure_ours
from engine.contract.paid import note_paid_request
from engine.contract.parts import Parts
from engine.contract.pipeline import (
    AttemptRecord,
    Check,
    FinishContext,
    Flag,
    ItemRecord,
    PageContext,
    PageFile,
    Pipeline,
    RunRecord,
    Section,
)
from engine.contract.registry import pipeline as find_pipeline
from engine.contract.registry import pipelines as installed_pipelines
from engine.contract.run_loop import has_run_loop, on_run_loop
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
from engine.contract.steps import SOURCE, Step
from engine.telemetry.cores import available_cores
from engine.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Events,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
    ItemUnfinished,
    PartEnded,
    PartEntered,
    RunEnded,
    RunStarted,
    SourceEnded,
    StepOpened,
    Stopping,
)
from engine.telemetry.passed_time import passed_seconds
from engine.telemetry.text import writable

if TYPE_CHECKING:
    from engine.cli.run_command import execute
    from engine.config.load import Config, load_config
    from engine.config.profiles import JobProfile, load_profile
    from engine.config.refusals import why_refused
    from engine.flow.opening import run_pipeline
    from engine.flow.report import RunReport
    from engine.gates.shared import GatesAway, SharedGate, SharedLimits, Shut, shared_gate
    from engine.ledger.lock import LOCK_FILES, locked
    from engine.ledger.reader import read_item
    from engine.page.port import Port
    from engine.page.server import AppServer
    from engine.sources.list_ends import read_list
    from engine.sources.lists import open_list
    from engine.sources.own_tables import OwnTables
    from engine.sources.source import JoinedSources, Source
    from engine.views.item_path import ItemPaths

_LATER = {
    "LOCK_FILES": "engine.ledger.lock",
    "AppServer": "engine.page.server",
    "Config": "engine.config.load",
    "GatesAway": "engine.gates.shared",
    "ItemPaths": "engine.views.item_path",
    "JobProfile": "engine.config.profiles",
    "JoinedSources": "engine.sources.source",
    "OwnTables": "engine.sources.own_tables",
    "Port": "engine.page.port",
    "RunReport": "engine.flow.report",
    "SharedGate": "engine.gates.shared",
    "SharedLimits": "engine.gates.shared",
    "Shut": "engine.gates.shared",
    "Source": "engine.sources.source",
    "execute": "engine.cli.run_command",
    "load_config": "engine.config.load",
    "load_profile": "engine.config.profiles",
    "locked": "engine.ledger.lock",
    "open_list": "engine.sources.lists",
    "read_item": "engine.ledger.reader",
    "read_list": "engine.sources.list_ends",
    "run_pipeline": "engine.flow.opening",
    "shared_gate": "engine.gates.shared",
    "why_refused": "engine.config.refusals",
}

__all__ = [
    "LOCK_FILES",
    "SOURCE",
    "AppServer",
    "AttemptEnded",
    "AttemptRecord",
    "AttemptStarted",
    "Cancelled",
    "Check",
    "Config",
    "ConfigError",
    "Deadline",
    "Drop",
    "Ending",
    "Event",
    "Events",
    "FinishContext",
    "Flag",
    "GatesAway",
    "Item",
    "ItemEnded",
    "ItemEntered",
    "ItemGivenUp",
    "ItemPaths",
    "ItemRecord",
    "ItemUnfinished",
    "Job",
    "JobOutcome",
    "JobProfile",
    "JoinedSources",
    "Loan",
    "MissingOutput",
    "OwnTables",
    "PageContext",
    "PageFile",
    "PartEnded",
    "PartEntered",
    "Parts",
    "PenstockError",
    "Permanent",
    "Pipeline",
    "PipelineError",
    "Port",
    "Produced",
    "RunEnded",
    "RunRecord",
    "RunReport",
    "RunStarted",
    "Section",
    "Settings",
    "SharedGate",
    "SharedLimits",
    "Shut",
    "Skip",
    "Source",
    "SourceEnded",
    "Stage",
    "StageOptions",
    "StandIn",
    "Step",
    "StepOpened",
    "StopRun",
    "Stopping",
    "Throttled",
    "Transient",
    "UsageError",
    "Withdrawn",
    "WorkFolderError",
    "available_cores",
    "borrow",
    "checkpoint",
    "deadline",
    "ensure_ours",
    "execute",
    "find_pipeline",
    "has_run_loop",
    "id_with_options",
    "installed_pipelines",
    "load_config",
    "load_profile",
    "locked",
    "note_paid_request",
    "on_run_loop",
    "open_list",
    "passed_seconds",
    "read_item",
    "read_list",
    "run_pipeline",
    "setting",
    "shared_gate",
    "shown",
    "shown_in",
    "why_refused",
    "writable",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
