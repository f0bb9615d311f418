"""Profiles: what the jobs of a service name.

[profiles.NAME] of the file has a pipeline, settings of its steps, and in `allow` the settings of
which a job may bring its own value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.config.load import Config, load_config
from engine.config.refusals import why_refused
from engine.config.schema import PROFILES, did_you_mean, per_item_settings
from engine.config.setting_text import accepted, accepts_bool
from engine.config.toml_file import TomlFile, read_toml
from engine.contract.errors import ConfigError, UsageError
from engine.contract.item_options import with_options
from engine.contract.pipeline import Pipeline
from engine.contract.registry import pipeline as find_pipeline
from engine.contract.registry import pipelines as installed_pipelines


@dataclass(frozen=True)
class JobProfile:
    """A pipeline, its configuration, and `allow`: the settings, "STEP.KEY", of which a job may have
    its own value."""

    name: str
    pipeline: Pipeline
    config: Config
    allow: tuple[str, ...] = ()

    def options(self, given: object) -> dict[str, Any]:
        """A job's options, by "STEP.KEY", JSON-able and as the settings have them; those that say
        what the profile says are left out. Raises UsageError, in one line, where one is not allowed
        or invalid."""
        if not isinstance(given, Mapping):
            raise UsageError("a job's options are an object of settings")
        steps: dict[str, dict[str, Any]] = {}
        for name, value in given.items():
            if name not in self.allow:
                hint = did_you_mean(str(name), self.allow)
                raise UsageError(f"profile {self.name!r} allows no option {name!r}{hint}")
            steps.setdefault(name.partition(".")[0], {})[name] = value
        found: dict[str, Any] = {}
        for step, values in steps.items():
            found |= self._checked(step, values)
        return found | self._following(found)

    def as_options(self, first: "JobProfile") -> dict[str, Any]:
        """The options that items of this profile have in a run with the configuration of `first`.
        Raises UsageError where the two differ in anything else."""
        one, other = first.config, self.config
        differing = "limits" if one.limits != other.limits else None
        if first.pipeline.name != self.pipeline.name:
            raise _apart(first, self, "their pipelines")
        options: dict[str, Any] = {}
        for name, step in other.stages.items():
            was = one.stages[name]
            told = step.settings.model_dump(mode="json")
            changed = [k for k, value in step.settings if value != getattr(was.settings, k)]
            options |= {f"{name}.{key}": told[key] for key in changed}
            if step.options != was.options:
                differing = f"the options of step {name}"
        differing = next(
            (n for n in options if n not in per_item_settings(self.pipeline)), differing
        )
        if differing is not None:
            raise _apart(first, self, differing)
        return options

    def _following(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that the pipeline takes from these for other steps, as options too. Raises
        UsageError where a job can have no own value of one."""
        own = {name: with_options(one, name, options) for name, one in self.config.given.items()}
        able, found = per_item_settings(self.pipeline), dict[str, Any]()
        for step, settings in self.pipeline.resolve(own).items() if options else ():
            was, told = self.config.stages[step].settings, settings.model_dump(mode="json")
            changed = [key for key, value in settings if value != getattr(was, key)]
            for name in (f"{step}.{key}" for key in changed):
                if name not in able:
                    raise UsageError(
                        f"option {', '.join(options)!r} changes {name}, too, of which a job has no "
                        "own value here; leave it out, or have a profile of its own for it"
                    )
                found[name] = told[name.partition(".")[2]]
        return found

    def _checked(self, step: str, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = self.config.stages[step].settings
        fields = type(settings).model_fields
        for name, value in values.items():
            field = fields[name.partition(".")[2]]
            if isinstance(value, bool) and not accepts_bool(field):
                raise UsageError(f"option {name!r} has to be {accepted(field)}")
        try:
            own = with_options(settings, step, values)
        except ValidationError as error:
            raise UsageError(_refused(error, step, values, fields)) from None
        was, now = settings.model_dump(mode="json"), own.model_dump(mode="json")
        keys = [name.partition(".")[2] for name in values]
        return {f"{step}.{key}": now[key] for key in keys if now[key] != was[key]}


def load_profile(
    name: str,
    file: Path | None,
    environment: Mapping[str, str],
    overrides: Sequence[str],
    *,
    found: bool = False,
) -> JobProfile:
    """The profile of the file, or else the pipeline of that name, with its settings as they stand
    and nothing that a job may set; the rest as `load_config` has it. Raises UsageError where there
    is neither, ConfigError with one line for each mistake."""
    read = read_toml(file) if file is not None else None
    tables = _tables(read)

    def loaded(pipeline: Pipeline, profile: str | None = None) -> Config:
        others = list(installed_pipelines().values())
        return load_config(
            pipeline,
            file,
            environment,
            overrides,
            {},
            others=others,
            found=found,
            profile=profile,
        )

    if read is None or name not in tables:
        if name not in installed_pipelines():
            names = [*tables, *installed_pipelines()]
            raise UsageError(f"no profile or pipeline is named {name!r}{did_you_mean(name, names)}")
        pipeline = find_pipeline(name)
        return JobProfile(name, pipeline, loaded(pipeline))
    table, where = tables[name], f"{read.place_of(f'{PROFILES}.{name}')}: [{PROFILES}.{name}]"
    pipeline = _pipeline_of(table, where)
    config = loaded(pipeline, name)
    return JobProfile(name, pipeline, config, _allowed(pipeline, table.get("allow", []), where))


def _tables(read: TomlFile | None) -> Mapping[str, Any]:
    if read is None:
        return {}
    tables = read.document.get(PROFILES, {})
    if not isinstance(tables, Mapping):
        raise ConfigError(f"{read.place_of(PROFILES)}: profiles stand in tables: [profiles.NAME]")
    return tables


def _pipeline_of(table: object, where: str) -> Pipeline:
    name = table.get("pipeline") if isinstance(table, Mapping) else None
    if not isinstance(name, str):
        known = ", ".join(installed_pipelines())
        raise ConfigError(f'{where}: name its pipeline: pipeline = "NAME"; there are: {known}')
    try:
        return find_pipeline(name)
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None


def _allowed(pipeline: Pipeline, allow: object, where: str) -> tuple[str, ...]:
    if not isinstance(allow, list):
        raise ConfigError(f'{where}: allow is a list of settings, as in ["STEP.KEY"]')
    able = per_item_settings(pipeline)
    for name in allow:
        if name not in able:
            told = "no setting of which a job may have its own value"
            raise ConfigError(f"{where}: allow: {name!r} is {told}{did_you_mean(str(name), able)}")
    return tuple(dict.fromkeys(allow))


def _apart(one: JobProfile, other: JobProfile, differing: str) -> UsageError:
    return UsageError(
        f"profiles {one.name!r} and {other.name!r} differ in {differing}, of which a run has one: "
        "give each a process of its own, with a queue and a folder of its own"
    )


def _refused(
    error: ValidationError, step: str, values: Mapping[str, Any], fields: Mapping[str, Any]
) -> str:
    """The first mistake, in one line."""
    details = error.errors()[0]
    key = str(details["loc"][0]) if details["loc"] else ""
    if f"{step}.{key}" in values and details["type"] not in ("value_error", "assertion_error"):
        return f"option {f'{step}.{key}'!r} has to be {accepted(fields[key])}"
    where = f"options of {step}" + (f": {key}" if f"{step}.{key}" in values else "")
    return f"{where}: {why_refused(details)}"
