"""config.toml as `penstock` writes it: every setting, its default, and one line on what it does."""

import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from engine.config import LimitSettings
from engine.config_schema import LIMITS, stage_fields
from engine.errors import PipelineError
from engine.pipeline import Pipeline
from engine.setting_text import accepted, placeholder, toml_key, toml_value
from engine.stage import Stage, StageOptions

WIDTH = 100


def render_config(pipelines: Sequence[Pipeline]) -> str:
    """A config.toml that says exactly the defaults of these pipelines' stages.

    A setting whose default is that it is not set stands commented out, with an example.
    Raises PipelineError where two pipelines have different stages of one name.
    """
    lines = [
        *_comment("Every setting and its default. Delete what you do not change: what is missing"),
        *_comment(
            "keeps its default, and `--set NAME=VALUE` goes before what stands here. What is"
        ),
        *_comment("commented out is not set, and the value beside it an example."),
        "",
        f"[{LIMITS}]",
        *_comment(inspect.getdoc(LimitSettings) or ""),
        *_settings(LimitSettings.model_fields.items(), {}),
    ]
    for stage, users in _stages(pipelines):
        lines += ["", "", f"[stages.{toml_key(stage.name)}]", *_comment(_headline(stage))]
        if len(pipelines) > 1:
            lines += _comment(f"Stage of {', '.join(users)}.")
        options = StageOptions.model_fields
        fields = stage_fields(stage)
        own = {key: field for key, field in fields.items() if key not in options}
        lines += _settings(own.items(), {})
        lines += ["", *_comment("What every stage has:")]
        lines += _settings(options.items(), stage.defaults, most=stage.max_workers)
    return "\n".join(lines) + "\n"


def _stages(pipelines: Sequence[Pipeline]) -> list[tuple[type[Stage], list[str]]]:
    """Each stage once, with the names of the pipelines it stands in."""
    found: dict[str, tuple[type[Stage], list[str]]] = {}
    for pipeline in pipelines:
        for name in pipeline.names:
            stage = pipeline[name].stage
            first, users = found.setdefault(name, (stage, []))
            if first is not stage:
                raise PipelineError(
                    f"pipelines {users[0]!r} and {pipeline.name!r} both have a stage {name!r}, and "
                    "not the same one; give one of them another name"
                )
            users.append(pipeline.name)
    return list(found.values())


def _settings(
    fields: Iterable[tuple[str, FieldInfo]], defaults: Mapping[str, Any], most: int | None = None
) -> list[str]:
    lines = []
    for key, field in fields:
        default = defaults.get(key, field.get_default(call_default_factory=True))
        limit = f"; {most} at most" if key == "workers" and most is not None else ""
        lines += ["", *_comment(f"{field.description or ''} ({accepted(field)}{limit})".strip())]
        lines += _assignment(key, default, field)
    return lines


def _assignment(key: str, default: Any, field: FieldInfo) -> list[str]:
    if default is None or default is PydanticUndefined:
        return [f"# {toml_key(key)} = {toml_value(placeholder(field))}"]
    if isinstance(default, (set, frozenset)):
        default = sorted(default)
    default = to_jsonable_python(default)
    line = f"{toml_key(key)} = {toml_value(default)}"
    if len(line) <= WIDTH or not isinstance(default, list):
        return [line]
    return [f"{toml_key(key)} = [", *(f"  {toml_value(value)}," for value in default), "]"]


def _headline(stage: type[Stage]) -> str:
    return (inspect.getdoc(stage) or "").partition("\n\n")[0].replace("\n", " ")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
