"""The known settings: config.toml's sections and keys, their environment variables, near misses.

A section is "limits", "defaults" (the options of every step), "stages.NAME" (the options and
settings of a step, in every pipeline that has it) or "PIPELINE.NAME" (the same for one pipeline
only). A setting's dotted name is its section, a dot, its key.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.contract.errors import PipelineError
from engine.contract.item_options import is_per_item
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage, StageOptions

LIMITS = "limits"
DEFAULTS = "defaults"
STAGES = "stages"
PROFILES = "profiles"
RESERVED = (LIMITS, DEFAULTS, STAGES, PROFILES)
PREFIX = "PENSTOCK_"


@dataclass(frozen=True)
class Schema:
    """Every setting of one pipeline. Raises PipelineError where two settings would share a name."""

    pipeline: str
    sections: Mapping[str, Mapping[str, FieldInfo]]
    """The fields by section and key."""
    variables: Mapping[str, str]
    """The dotted names by environment variable."""
    stages_variables: Mapping[str, str]
    """The dotted names by further variables, without our prefix, that stages name."""
    foreign_pipelines: frozenset[str]
    """Other pipelines that share the file: their tables are ignored."""
    foreign_sections: frozenset[str]
    foreign_names: frozenset[str]
    """The settings of those pipelines, also those of another stage with the
    name of one of this pipeline's."""
    foreign_variables: frozenset[str]

    @classmethod
    def of(
        cls, pipeline: Pipeline, limits: type[BaseModel], others: Sequence[Pipeline]
    ) -> "Schema":
        _check_name(pipeline)
        common: dict[str, Mapping[str, FieldInfo]] = {
            LIMITS: limits.model_fields,
            DEFAULTS: StageOptions.model_fields,
            **_sections_of(pipeline, STAGES),
        }
        own = _sections_of(pipeline, pipeline.name)
        others = [other for other in others if other.name not in (*RESERVED, pipeline.name)]
        foreign = [
            (section, fields)
            for other in others
            for table in (STAGES, other.name)
            for section, fields in _sections_of(other, table).items()
        ]
        foreign_names = {f"{section}.{key}" for section, fields in foreign for key in fields}
        return cls(
            pipeline=pipeline.name,
            sections={**common, **own},
            variables=_variables(pipeline, common, own),
            stages_variables=_stages_variables(pipeline),
            foreign_pipelines=frozenset(other.name for other in others),
            foreign_sections=frozenset(section for section, _ in foreign) - common.keys(),
            foreign_names=frozenset(foreign_names),
            foreign_variables=frozenset(map(_variable, foreign_names)),
        )

    def field(self, dotted: str) -> FieldInfo | None:
        section, _, key = dotted.rpartition(".")
        return self.sections.get(section, {}).get(key)

    def is_foreign(self, dotted: str) -> bool:
        return dotted.rpartition(".")[0] in self.foreign_sections or dotted in self.foreign_names

    def knows(self, name: str) -> bool:
        """Whether `name` is a section, of this pipeline or another, or a setting's dotted name."""
        return (
            name in self.sections or name in self.foreign_sections or self.field(name) is not None
        )

    def steps(self, table: str) -> list[str]:
        """The steps that may stand in a table of the file: in "stages", or
        in a pipeline's table."""
        known = (*self.sections, *(self.foreign_sections if table != STAGES else ()))
        return [name.removeprefix(f"{table}.") for name in known if name.startswith(f"{table}.")]

    def why_unknown(self, dotted: str) -> str:
        """A message that `dotted` is no setting, with the name that was probably meant."""
        section, _, key = dotted.rpartition(".")
        if section == DEFAULTS and (owners := self._owners(key)):
            return f"no option of every step: set it in [{owners[0]}]"
        if section in self.sections:
            return f"no such setting{did_you_mean(key, self.sections[section])}"
        if (whole := self._setting_around(dotted)) is not None:
            return f"{whole} is one setting: set it whole"
        table, _, rest = dotted.partition(".")
        if rest and table in (STAGES, self.pipeline, *self.foreign_pipelines):
            whose = "this pipeline" if table == STAGES else f"pipeline {table!r}"
            step = rest.split(".")[0]
            return f"{whose} has no stage {step!r}{did_you_mean(step, self.steps(table))}"
        everything = {
            name.removeprefix("stages."): name
            for name in (*self.sections, *_dotted_names(self.sections))
        }
        near = get_close_matches(dotted.removeprefix("stages."), everything, 1)
        hint = (
            f"did you mean {everything[near[0]]!r}?"
            if near
            else f"it is limits.KEY, defaults.KEY, stages.NAME.KEY or {self.pipeline}.NAME.KEY"
        )
        return f"no such setting; {hint}"

    def _setting_around(self, dotted: str) -> str | None:
        """The setting that is a table and holds what `dotted` names, if there is one."""
        parts = dotted.split(".")
        names = (".".join(parts[:count]) for count in range(2, len(parts)))
        return next((name for name in names if self.field(name) is not None), None)

    def _owners(self, key: str) -> list[str]:
        """The sections of the steps that have this key."""
        return [name for name in map(section_of, self.steps(STAGES)) if key in self.sections[name]]


def section_of(step: str) -> str:
    return f"{STAGES}.{step}"


def stage_fields(stage: type[Stage]) -> dict[str, FieldInfo]:
    """The fields of a step's table: the stage's own settings, then the options of every step."""
    return {**stage.Settings.model_fields, **StageOptions.model_fields}


def per_item_settings(pipeline: Pipeline) -> list[str]:
    """The settings of the pipeline's steps of which an item may have its own value."""
    return [
        f"{name}.{key}"
        for name in pipeline.names
        for key in pipeline[name].stage.Settings.model_fields
        if is_per_item(pipeline[name].stage.Settings, key)
    ]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or else all of them."""
    known = list(known)
    near = get_close_matches(word.lower(), known, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def _check_name(pipeline: Pipeline) -> None:
    if pipeline.name in RESERVED:
        raise PipelineError(
            f"a pipeline cannot be named {pipeline.name!r}: config.toml has a table of that name"
        )


def _sections_of(pipeline: Pipeline, table: str) -> dict[str, Mapping[str, FieldInfo]]:
    return {f"{table}.{name}": stage_fields(pipeline[name].stage) for name in pipeline.names}


def _variables(
    pipeline: Pipeline,
    common: Mapping[str, Mapping[str, FieldInfo]],
    own: Mapping[str, Mapping[str, FieldInfo]],
) -> dict[str, str]:
    variables: dict[str, str] = {}
    for dotted in _dotted_names(common):
        name = _variable(dotted)
        if name in variables:
            raise PipelineError(
                f"pipeline {pipeline.name!r}: {variables[name]} and {dotted} would both be set "
                f"by {name}; give one of the stages or settings another name"
            )
        variables[name] = dotted
    # A variable is a stage's first: toy.fetch.size has none beside size of a stage "toy-fetch".
    return {_variable(dotted): dotted for dotted in _dotted_names(own)} | variables


def _stages_variables(pipeline: Pipeline) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in pipeline.names:
        stage = pipeline[name].stage
        for variable, key in stage.variables.items():
            if key not in stage_fields(stage):
                problem = f"{variable} would set {key!r}: no such setting"
                raise PipelineError(f"stage {name!r}: {problem}")
            found[variable] = f"{section_of(name)}.{key}"
    return found


def _variable(dotted: str) -> str:
    return PREFIX + re.sub(r"[^A-Za-z0-9]", "_", dotted.removeprefix("stages.")).upper()


def _dotted_names(sections: Mapping[str, Mapping[str, FieldInfo]]) -> list[str]:
    return [f"{section}.{key}" for section, fields in sections.items() for key in fields]
