"""config.toml as `penstock` writes it: every setting, its default, and a one-line description."""

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from engine.config.limits import LimitSettings
from engine.config.schema import DEFAULTS, LIMITS, PROFILES, STAGES, per_item_settings, stage_fields
from engine.config.setting_text import accepted, is_secret, placeholder, toml_key, toml_value
from engine.contract.pipeline import Pipeline
from engine.contract.stage import Stage, StageOptions

WIDTH = 100

_HEAD = """Every setting and its default. Delete the lines that you do not change: a missing setting
keeps its default. A setting that is commented out is unset, and its value an example. The
environment overrides this file, and `--set NAME=VALUE` overrides both. A table [PIPELINE.STAGE],
such as [{example}], may hold the settings of [stages.STAGE], for that pipeline only, and overrides
them.
"""

_OF_DEFAULTS = """The options of every stage, with their defaults. A value set here holds for all
stages and overrides their own defaults. It does not hold for a stage whose own table sets it, nor
for one that cannot have it.
"""


_OF_PROFILES = """A profile is what a service's jobs name: a pipeline, settings of its steps in
place of those above, and the settings of which a job may bring its own value as an option.
"""


def render_config(pipelines: Sequence[Pipeline]) -> str:
    """A config.toml with exactly the defaults of these pipelines' steps, each setting once.

    The options of every step stand under [defaults], and under a step only where the step's own
    default differs. They are commented out, as are settings that are unset by default.
    """
    lines = [
        *_comment(_HEAD.format(example=f"{pipelines[0].name}.{pipelines[0].names[0]}")),
        "",
        f"[{LIMITS}]",
        *_comment(inspect.getdoc(LimitSettings) or ""),
        "",
        *_settings(LimitSettings.model_fields),
        *["", "", f"[{DEFAULTS}]"],
        *_comment(_OF_DEFAULTS),
        "",
        *_settings(StageOptions.model_fields, commented=True),
    ]
    for (table, name), (stage, users) in _steps(pipelines).items():
        lines += ["", "", f"[{table}.{toml_key(name)}]", *_comment(_headline(stage))]
        if len(pipelines) > 1:
            lines += _comment(f"Stage of {', '.join(users)}.")
        own = {
            key: field
            for key, field in stage_fields(stage).items()
            if key not in StageOptions.model_fields
        }
        lines += [
            line for part in (_settings(own), _own_options(stage)) if part for line in ["", *part]
        ]
    return "\n".join([*lines, *_profile(pipelines)]) + "\n"


def _profile(pipelines: Sequence[Pipeline]) -> list[str]:
    """An example of a profile, commented out, where there is a pipeline that it may allow settings
    of."""
    able = {one.name: per_item_settings(one) for one in pipelines}
    some = next((one for one in pipelines if able[one.name]), None)
    if some is None:
        return []
    names = ", ".join(dict.fromkeys(name for found in able.values() for name in found))
    step, _, key = able[some.name][0].partition(".")
    value = placeholder(some[step].stage.Settings.model_fields[key])
    told = " ".join(f"{_OF_PROFILES} A job may have its own value of: {names}.".split())
    return [
        *["", "", *_comment(told), "#"],
        f"# [{PROFILES}.NAME]",
        f"# pipeline = {toml_value(some.name)}",
        f"# allow = {toml_value([f'{step}.{key}'])}",
        f"# {toml_key(step)}.{key} = {toml_value(value)}",
    ]


def _steps(pipelines: Sequence[Pipeline]) -> dict[tuple[str, str], tuple[type[Stage], list[str]]]:
    """Each step's table and name, with its stage and its pipelines.

    The table is "stages", unless two pipelines give different stages one name: then it is each
    pipeline's own table.
    """
    stages: dict[str, set[type[Stage]]] = {}
    for pipeline in pipelines:
        for name in pipeline.names:
            stages.setdefault(name, set()).add(pipeline[name].stage)
    found: dict[tuple[str, str], tuple[type[Stage], list[str]]] = {}
    for pipeline in pipelines:
        for name in pipeline.names:
            table = STAGES if len(stages[name]) == 1 else toml_key(pipeline.name)
            _, users = found.setdefault((table, name), (pipeline[name].stage, []))
            users.append(pipeline.name)
    return found


def _settings(fields: Mapping[str, FieldInfo], *, commented: bool = False) -> list[str]:
    lines = []
    for key, field in fields.items():
        default = field.get_default(call_default_factory=True)
        [*before, last] = _assignment(key, default, field, commented=commented)
        described, allowed = field.description or "", accepted(field)
        beside = f"{last}  # {allowed}"
        if before or len(beside) > WIDTH:
            lines += [*_comment(f"{described} ({allowed})".strip()), *before, last]
        else:
            lines += [*_comment(described), beside]
    return lines


def _own_options(stage: type[Stage]) -> list[str]:
    """The stage's own defaults for the options of every stage; [defaults] explains the options."""
    lines: list[str] = []
    for key, field in StageOptions.model_fields.items():
        limit = stage.max_workers if key == "workers" else None
        default = stage.defaults.get(key, field.get_default())
        if limit is not None:
            lines += [f"{line}  # {limit} at most" for line in _assignment(key, default, field)]
        elif key in stage.defaults:
            lines += _assignment(key, default, field)
    return [*_comment(f"Its own defaults for options of [{DEFAULTS}]:"), *lines] if lines else []


def _assignment(key: str, default: Any, field: FieldInfo, *, commented: bool = False) -> list[str]:
    """The lines that set the default, or that show the syntax of the setting."""
    if _is_unset(default, field) or is_secret(field):
        default, commented = placeholder(field), True
    if isinstance(default, (set, frozenset)):
        default = sorted(default)
    default = to_jsonable_python(default)
    line = f"{toml_key(key)} = {toml_value(default)}"
    if commented:
        return [f"# {line}"]
    if len(line) <= WIDTH or not isinstance(default, list):
        return [line]
    return [f"{toml_key(key)} = [", *(f"  {toml_value(value)}," for value in default), "]"]


def _is_unset(default: Any, field: FieldInfo) -> bool:
    """Whether the default is that nothing is set. An empty table with an example is one: written
    out it could not be filled under a header of its own."""
    return default in (None, PydanticUndefined) or (default == {} and bool(field.examples))


def _headline(stage: type[Stage]) -> str:
    return (inspect.getdoc(stage) or "").partition("\n\n")[0].replace("\n", " ")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
