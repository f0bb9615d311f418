"""What may be set: config.toml's sections and keys, their names elsewhere, and near misses.

A section is "limits" or "stages.NAME"; a setting's dotted name is its section, a dot, its key.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.errors import PipelineError
from engine.pipeline import Pipeline
from engine.stage import Stage, StageOptions

LIMITS = "limits"
PREFIX = "PENSTOCK_"


@dataclass(frozen=True)
class Schema:
    """Every setting of one pipeline. Raises PipelineError where two would share a name."""

    sections: Mapping[str, Mapping[str, FieldInfo]]
    """The fields by section and key."""
    variables: Mapping[str, str]
    """The dotted names by environment variable."""
    foreign_sections: frozenset[str]
    """Sections of other pipelines that share the file: they are let be."""
    foreign_variables: frozenset[str]

    @classmethod
    def of(
        cls, pipeline: Pipeline, limits: type[BaseModel], others: Sequence[Pipeline]
    ) -> "Schema":
        sections: dict[str, Mapping[str, FieldInfo]] = {LIMITS: limits.model_fields}
        for name in pipeline.names:
            sections[section_of(name)] = stage_fields(pipeline[name].stage)
        variables: dict[str, str] = {}
        for dotted in _dotted_names(sections):
            name = _variable(dotted)
            if name in variables:
                raise PipelineError(
                    f"pipeline {pipeline.name!r}: {variables[name]} and {dotted} would both be set "
                    f"by {name}; give one of the stages or settings another name"
                )
            variables[name] = dotted
        foreign = {
            section_of(step.name): stage_fields(step.stage)
            for other in others
            for step in other.steps
            if section_of(step.name) not in sections
        }
        return cls(
            sections=sections,
            variables=variables,
            foreign_sections=frozenset(foreign),
            foreign_variables=frozenset(_variable(dotted) for dotted in _dotted_names(foreign)),
        )

    def field(self, dotted: str) -> FieldInfo | None:
        section, _, key = dotted.rpartition(".")
        return self.sections.get(section, {}).get(key)

    def is_foreign(self, dotted: str) -> bool:
        return dotted.rpartition(".")[0] in self.foreign_sections

    def why_unknown(self, dotted: str) -> str:
        """Why `dotted` is no setting, and what may have been meant."""
        section, _, key = dotted.rpartition(".")
        if section in self.sections:
            return f"no such setting{did_you_mean(key, self.sections[section])}"
        if self.field(section) is not None:
            return f"{section} is one setting: set it whole"
        if re.match(r"stages\.[^.]+", dotted):
            names = [name.removeprefix("stages.") for name in self.sections if name != LIMITS]
            stage = dotted.split(".")[1]
            return f"this pipeline has no stage {stage!r}{did_you_mean(stage, names)}"
        everything = {
            name.removeprefix("stages."): name
            for name in (*self.sections, *_dotted_names(self.sections))
        }
        near = get_close_matches(dotted.removeprefix("stages."), everything, 1)
        hint = (
            f"did you mean {everything[near[0]]!r}?"
            if near
            else "it is limits.KEY or stages.NAME.KEY"
        )
        return f"no such setting; {hint}"


def section_of(stage: str) -> str:
    return f"stages.{stage}"


def stage_fields(stage: type[Stage]) -> dict[str, FieldInfo]:
    """What [stages.NAME] may hold: the stage's own settings, then the options every stage has."""
    own, options = stage.Settings.model_fields, StageOptions.model_fields
    if clash := sorted(set(own) & set(options)):
        raise PipelineError(
            f"stage {stage.name!r}: its setting {clash[0]!r} has the name of an option that every "
            "stage has; give it another name"
        )
    return {**own, **options}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or else all of them."""
    known = list(known)
    near = get_close_matches(word.lower(), known, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def _variable(dotted: str) -> str:
    return PREFIX + re.sub(r"[^A-Za-z0-9]", "_", dotted.removeprefix("stages.")).upper()


def _dotted_names(sections: Mapping[str, Mapping[str, FieldInfo]]) -> list[str]:
    return [f"{section}.{key}" for section, fields in sections.items() for key in fields]
