"""config.toml, the environment and the command line, as typed and checked settings.

A setting has one definition: its field in a pydantic model. Its sources, lowest precedence first:
the built-in default, the file, the environment, `--set`, the flags. Within one source the most
specific table wins: [PIPELINE.STAGE], then [stages.STAGE], then [defaults]; among built-in
defaults, the stage's own.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.config.limits import LimitSettings
from engine.config.refusals import OWN_WORDS, why_refused
from engine.config.schema import DEFAULTS, LIMITS, STAGES, Schema, did_you_mean, section_of
from engine.config.setting_text import accepted, accepts_bool, is_secret, table_keys, toml_key
from engine.config.sources import (
    GivenSetting,
    GivenSettings,
    from_environment,
    from_file,
    from_flags,
    from_overrides,
    from_profile,
    from_stored,
    problem_line,
)
from engine.contract.errors import ConfigError, PipelineError
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage, StageOptions

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class StageConfig:
    """One step's configuration: the options of every step, and its stage's own settings."""

    options: StageOptions
    settings: BaseModel


@dataclass(frozen=True)
class Config:
    """A pipeline's whole configuration; `stages` is in topological order. `given` are the settings
    before the pipeline has taken those of one step from another. `off` are the steps that have
    nothing to do under these settings, and that a run leaves out (`Stage.is_off`)."""

    stages: dict[str, StageConfig]
    limits: LimitSettings
    given: Mapping[str, BaseModel] = field(default_factory=dict)
    off: frozenset[str] = frozenset()


def load_config(
    pipeline: Pipeline,
    file: Path | None,
    environment: Mapping[str, str],
    overrides: Sequence[str],
    flags: Mapping[str, Any],
    *,
    others: Sequence[Pipeline] = (),
    stored: Mapping[str, Any] | None = None,
    found: bool = False,
    profile: str | None = None,
) -> Config:
    """The pipeline's configuration.

    `overrides` are the arguments of `--set`, such as "stages.fetch.workers=4"; `flags` are dotted
    names and their values. `others` are further pipelines that share the file and the environment:
    their settings are ignored. `stored` is the result of `settings_as_dict` in an earlier run: it
    overrides the defaults, and everything set now overrides it. `found`: the file was not named,
    but lies in the current folder; if it belongs to another program it is ignored with a warning.
    `profile` is one of the file's: its settings override the others of the file.

    Raises ConfigError with one line for each mistake, PipelineError where a stage is at fault.
    """
    schema = Schema.of(pipeline, LimitSettings, others)
    problems: list[str] = []
    sources = [from_stored(stored, schema)] if stored is not None else []
    if file is not None:
        sources.append(from_file(file, schema, problems, found=found))
        if profile is not None:
            sources.append(from_profile(file, profile, schema, problems))
    sources.append(from_environment(environment, schema, problems))
    sources.append(from_overrides(overrides, schema, problems))
    sources.append(from_flags(flags, pipeline, schema, problems))
    entries: GivenSettings = {}
    for source in sources:
        entries |= _nearest(source, pipeline, problems)

    limits = _build(LimitSettings, LIMITS, entries, problems)
    stages: dict[str, StageConfig] = {}
    for name in pipeline.names:
        stage, section = pipeline[name].stage, section_of(name)
        settings = _build(stage.Settings, section, entries, problems)
        defaults = _option_defaults(stage, name)
        options = _build(StageOptions, section, defaults | entries, problems)
        if options is not None:
            problems += _impossible(pipeline, name, options, entries)
        if options is not None and settings is not None:
            stages[name] = StageConfig(options, settings)
    if problems or limits is None:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    given = {name: stage.settings for name, stage in stages.items()}
    resolved = pipeline.resolve(dict(given))
    off = (name for name in pipeline.names if pipeline[name].stage.is_off(resolved[name]))
    return Config(
        {name: StageConfig(stage.options, resolved[name]) for name, stage in stages.items()},
        limits,
        given,
        frozenset(filter(pipeline.may_be_left_out, off)),
    )


def settings_as_dict(config: Config) -> dict[str, Any]:
    """The whole configuration, JSON-able and in config.toml's shape; secrets are masked."""
    return {
        LIMITS: config.limits.model_dump(mode="json"),
        STAGES: {
            name: _dump(stage.settings) | _dump(stage.options)
            for name, stage in config.stages.items()
        },
    }


def fingerprint_settings(stage: type[Stage], settings: BaseModel) -> dict[str, Any]:
    """The settings that affect the output of `stage`, JSON-able: a part of its fingerprint."""
    dumped = _dump(settings)
    return {
        key: dumped[key]
        for key, field in stage.Settings.model_fields.items()
        if key in dumped  # a field may be excluded from dumps
        and (
            not isinstance(field.json_schema_extra, dict)
            or field.json_schema_extra.get("affects_output") is not False
        )
    }


def _dump(settings: BaseModel) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json")
    for key, value in settings:
        if isinstance(value, (set, frozenset)):  # the order of a set of texts differs by process
            dumped[key] = sorted(dumped[key], key=json.dumps)
    return dumped


def _nearest(source: GivenSettings, pipeline: Pipeline, problems: list[str]) -> GivenSettings:
    """One source's entries, under limits.KEY and stages.NAME.KEY; the most specific table wins."""
    own = f"{pipeline.name}."
    common = {name: e for name, e in source.items() if not name.startswith((f"{DEFAULTS}.", own))}
    particular = {
        section_of(name.removeprefix(own)): entry
        for name, entry in source.items()
        if name.startswith(own)
    }
    return _for_every_step(source, pipeline, problems) | common | particular


def _for_every_step(
    source: GivenSettings, pipeline: Pipeline, problems: list[str]
) -> GivenSettings:
    """The entries of [defaults], spread over the steps that can have them. An entry that no step
    can have is warned of, not refused: it may be meant for another pipeline."""
    options = _build(StageOptions, DEFAULTS, source, problems)
    spread: GivenSettings = {}
    if options is None:
        return spread
    for key, value in options:
        entry = source.get(f"{DEFAULTS}.{key}")
        if entry is None:
            continue
        able = [
            name
            for name in pipeline.names
            if not _objection(pipeline, name, _placement(name, options, source), key, value)
        ]
        spread |= {f"{section_of(name)}.{key}": entry for name in able}
        if not able:
            _warn(problem_line(entry, f"changes nothing: no stage of {pipeline.name} can have it"))
    return spread


@cache
def _warn(line: str) -> None:
    logger.warning("%s", line)


def _option_defaults(stage: type[Stage], name: str) -> GivenSettings:
    """The stage's own defaults for the options. Raises PipelineError where they are wrong."""
    for key in stage.defaults:
        if key not in StageOptions.model_fields:
            raise PipelineError(
                f"stage {name!r}: its defaults name {key!r}, which is no option of a stage"
            )
    try:
        StageOptions.model_validate(stage.defaults)
    except ValidationError as error:
        raise _bad_default(f"stage {name!r}", error.errors()[0]) from None
    section, origin = section_of(name), f"the default of stage {name!r}"
    return {
        f"{section}.{key}": GivenSetting(value, origin, f"{section}.{key}")
        for key, value in stage.defaults.items()
    }


def _bad_default(owner: str, error: ErrorDetails) -> PipelineError:
    key = error["loc"][0] if error["loc"] else "settings"
    return PipelineError(
        f"{owner}: the default {key} = {error['input']!r} is refused: it {why_refused(error)}"
    )


def _build(
    model: type[Model], section: str, entries: GivenSettings, problems: list[str]
) -> Model | None:
    """The section's model, built from its own entries; None where that added a problem."""
    values = {
        key: entry.value
        for key in model.model_fields
        if (entry := entries.get(f"{section}.{key}")) is not None
    }
    before = len(problems)
    for key, value in values.items():
        if isinstance(value, bool) and not accepts_bool(model.model_fields[key]):
            problems.append(_refused(model, section, key, entries))
    try:
        built = model.model_validate(values)
    except ValidationError as error:
        problems += [_explain(details, model, section, entries) for details in error.errors()]
        return None
    return built if len(problems) == before else None


def _explain(
    details: ErrorDetails, model: type[BaseModel], section: str, entries: GivenSettings
) -> str:
    own_words = why_refused(details) if details["type"] in OWN_WORDS else None
    if not details["loc"]:
        origins = [e.origin for name, e in entries.items() if name.startswith(f"{section}.")]
        return f"{'; '.join(dict.fromkeys(origins))}: [{section}]: {why_refused(details)}"
    key = str(details["loc"][0])
    if f"{section}.{key}" not in entries:
        if details["type"] == "missing":
            return f"{section}.{key} has to be set: {accepted(model.model_fields[key])}"
        raise _bad_default(section, details)
    if (told := _refused_within(details, model, section, entries)) is not None:
        return told
    return _refused(model, section, key, entries, own_words)


def _refused_within(
    details: ErrorDetails, model: type[BaseModel], section: str, entries: GivenSettings
) -> str | None:
    """The message about one value in a setting that is a table of numbers or of settings; None for
    another setting."""
    key, *path = map(str, details["loc"])
    field = model.model_fields[key]
    if not path or is_secret(field) or (names := table_keys(field, path)) is None:
        return None
    origin, dotted = entries[f"{section}.{key}"].origin, [section, key, *map(toml_key, path)]
    entry = GivenSetting(details["input"], origin, ".".join(dotted))
    inner = names.get(path[-1])
    if inner is None:
        return problem_line(entry, f"no such setting{did_you_mean(path[-1], names)}")
    return problem_line(entry, f"has to be {accepted(inner)}")


def _refused(
    model: type[BaseModel],
    section: str,
    key: str,
    entries: GivenSettings,
    problem: str | None = None,
) -> str:
    entry, field = entries[f"{section}.{key}"], model.model_fields[key]
    problem = problem or f"has to be {accepted(field)}"
    hidden = bool(model.model_config.get("hide_input_in_errors"))
    return problem_line(entry, problem, field, hidden=hidden)


def _placement(name: str, defaults: StageOptions, source: GivenSettings) -> str:
    """Where a step's workers stand: its own word goes before that of [defaults]."""
    own = source.get(f"{section_of(name)}.placement")
    return str(own.value) if own is not None else defaults.placement


def _impossible(
    pipeline: Pipeline, name: str, options: StageOptions, entries: GivenSettings
) -> list[str]:
    """The problems with options that are valid in themselves but not for this step."""
    problems = []
    for key, value in options:
        objection = _objection(pipeline, name, options.placement, key, value)
        entry = entries.get(f"{section_of(name)}.{key}")
        if objection is not None and entry is None:
            raise PipelineError(f"stage {name!r}: its default for {key} is refused: {objection}")
        if objection is not None and entry is not None:
            problems.append(problem_line(entry, objection))
    return problems


def _objection(
    pipeline: Pipeline, name: str, placement: str, option: str, value: Any
) -> str | None:
    """The reason why this step cannot have this value of an option, where its workers stand; None
    where it can."""
    stage = pipeline[name].stage
    most = stage.most_workers(placement)
    if option == "workers" and most is not None and isinstance(value, int) and value > most:
        return f"stage {name!r} can use {most} at most"
    if option == "batch" and value > 1 and stage.splits():
        return f"stage {name!r} splits one item at a time: leave it at 1, and give it more workers"
    if option == "batch" and value > 1 and stage.process_batch is Stage.process_batch:
        return f"stage {name!r} takes one item at a time: leave it at 1"
    if option == "keep" and not value and not pipeline.successors(name):
        return f"nothing comes after stage {name!r}: what it makes is the result"
    if option == "placement" and value != "thread" and stage.is_async():
        return f'stage {name!r} is async and runs on the loop: use "thread"'
    if option == "resources" and value.get("GPU", 0) > 1 and value["GPU"] % 1:
        return f"a worker of stage {name!r} takes a part of one GPU, or whole ones"
    if option == "resources" and not any(value.values()):
        return f"a worker of stage {name!r} has to take something of its node, such as CPU = 1"
    if option == "optional" and value and stage.splits():
        return (
            f"stage {name!r} splits, and without its parts nothing after it has anything to do: "
            "leave it false; most_failed lets an item go on without some of its parts"
        )
    if option == "most_failed" and value and not stage.splits():
        split = ", ".join(one for one in pipeline.names if pipeline[one].stage.splits())
        return f"stage {name!r} makes no parts: set it for the one that does" + (
            f" ({split})" if split else ", which this pipeline does not have"
        )
    return None
