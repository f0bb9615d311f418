"""The sources of settings: the file, the environment, `--set` and the flags.

Each reader returns the entries that it found, by dotted name, and appends a line to `problems` for
each entry that is no setting.
"""

import logging
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from engine.config.schema import (
    DEFAULTS,
    LIMITS,
    PREFIX,
    PROFILES,
    STAGES,
    Schema,
    did_you_mean,
    section_of,
)
from engine.config.setting_text import is_secret, toml_key, toml_value, without_secrets
from engine.config.toml_file import read_toml
from engine.contract.errors import ConfigError
from engine.contract.pipeline import Pipeline

if TYPE_CHECKING:  # the help of the commands does not load pipelines
    from engine.contract.pipeline import Pipeline

RESERVED_VARIABLES = frozenset({"PENSTOCK_TEST_DATA", "PENSTOCK_AIMOCK"})
"""Variables with our prefix that set nothing: the tests use them."""


@dataclass(frozen=True, slots=True)
class GivenSetting:
    """One value that somebody wrote, its origin ("config.toml, line 4", "--set", a variable), and
    the dotted name under which it was written."""

    value: Any
    origin: str
    name: str


GivenSettings = dict[str, GivenSetting]

PROFILE_KEYS = ("pipeline", "allow")
"""What a profile has beside settings."""

OTHERWISE = "--config FILE names another one, and --config /dev/null none"

logger = logging.getLogger(__name__)


def problem_line(
    entry: GivenSetting, problem: str, field: FieldInfo | None = None, *, hidden: bool = False
) -> str:
    """One line: the origin, the setting, the value unless it is secret, and the problem.

    `hidden` hides the value too: somebody may have put a secret into the wrong setting.
    """
    secret = hidden or (field is not None and is_secret(field)) or _has_password(entry.value)
    shown = "" if secret else f" = {_shown(entry.value)}"
    return f"{entry.origin}: {entry.name}{shown}: {problem}"


def _has_password(value: object) -> bool:
    return isinstance(value, str) and bool(re.search(r"://[^/\s]*@", value))


def from_file(
    file: Path, schema: Schema, problems: list[str], *, found: bool = False
) -> GivenSettings:
    """The settings in the file. None, with a warning, where the file was `found` and belongs to
    another program. Raises ConfigError where the file is no valid TOML."""
    why = f"; it is read because it lies in the current folder: {OTHERWISE}" if found else ""
    try:
        read = read_toml(file)
    except ConfigError as error:
        raise ConfigError(f"{error}{why}") from None
    document = {name: table for name, table in read.document.items() if name != PROFILES}
    if found and _is_foreign(read.document, schema):
        _warn_of_foreign(file.absolute())
        return {}

    def entry(value: Any, dotted: str) -> GivenSetting:
        return GivenSetting(value, read.place_of(dotted), dotted)

    entries: GivenSettings = {}
    for section, table in _sections(document, schema):
        if section in schema.foreign_sections:
            continue
        whole = entry(table, section)
        if section not in schema.sections:
            problems.append(_unknown_section(whole, schema))
        elif not isinstance(table, dict):
            problems.append(problem_line(whole, "has to be a table of settings"))
        else:
            for key, value in table.items():
                _accept(entry(value, f"{section}.{key}"), entries, schema, problems)
    return entries


@cache
def _warn_of_foreign(file: Path) -> None:
    tables = "[limits], [defaults], [stages.NAME], [PIPELINE.NAME]"
    told = f"%s has no table of Penstock's ({tables}) and is passed over: %s"
    logger.warning(told, file, OTHERWISE)


def _is_foreign(document: Mapping[str, Any], schema: Schema) -> bool:
    """Whether the file has content and none of it may be meant for Penstock.

    A setting outside the tables may be meant for Penstock if the file has no table: another program
    would keep settings of the same names in its tables.
    """
    own = {LIMITS, STAGES, PROFILES, schema.pipeline, *schema.steps(STAGES)}
    if not any(isinstance(value, dict) for value in document.values()):
        own.update(key for section in schema.sections.values() for key in section)
    return bool(document) and not any(
        name in own
        or get_close_matches(name, (LIMITS, STAGES), 1)
        or (isinstance(table, dict) and any(map(schema.knows, (f"{name}.{key}" for key in table))))
        for name, table in document.items()
    )


def from_profile(file: Path, profile: str, schema: Schema, problems: list[str]) -> GivenSettings:
    """The settings of steps, and the limits, that stand in the file's [profiles.PROFILE]."""
    read = read_toml(file)
    entries: GivenSettings = {}
    for section, table in read.document[PROFILES][profile].items():
        if section in PROFILE_KEYS:
            continue
        name = f"{PROFILES}.{profile}.{toml_key(section)}"
        whole = GivenSetting(table, read.place_of(name), name)
        dotted = section if section == LIMITS else section_of(section)
        if not isinstance(table, dict):
            told = f"a profile has {', '.join(PROFILE_KEYS)}, and tables of steps' settings"
            problems.append(problem_line(whole, told))
        elif dotted not in schema.sections:
            known = [LIMITS, *schema.steps(STAGES)]
            told = f"pipeline {schema.pipeline!r} has no such stage{did_you_mean(section, known)}"
            problems.append(f"{whole.origin}: [{name}]: {told}")
        else:
            for key, value in table.items():
                entry = GivenSetting(value, read.place_of(f"{name}.{key}"), f"{name}.{key}")
                if schema.field(f"{dotted}.{key}") is not None:
                    entries[f"{dotted}.{key}"] = entry
                else:
                    problems.append(problem_line(entry, schema.why_unknown(f"{dotted}.{key}")))
    return entries


def from_stored(stored: Mapping[str, Any], schema: Schema) -> GivenSettings:
    """The settings that `settings_as_dict` gave in an earlier run. Secrets were not stored; a
    setting that no longer exists is ignored."""
    entries: GivenSettings = {}
    for section, table in _sections(dict(stored), schema):
        for key, value in table.items():
            dotted = f"{section}.{key}"
            field = schema.field(dotted)
            for kept in without_secrets(field, value) if field is not None else ():
                entries[dotted] = GivenSetting(kept, "the last run's settings", dotted)
    return entries


def from_environment(
    environment: Mapping[str, str], schema: Schema, problems: list[str]
) -> GivenSettings:
    """A variable with our prefix overrides one that a stage names."""
    entries: GivenSettings = {}
    for variable, name in schema.stages_variables.items():
        field = schema.field(name)
        if variable in environment and field is not None:
            entries[name] = GivenSetting(_parse(environment[variable], field), variable, name)
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if dotted := schema.variables.get(variable):
            field = schema.sections[dotted.rpartition(".")[0]][dotted.rpartition(".")[2]]
            entries[dotted] = GivenSetting(_parse(environment[variable], field), variable, dotted)
        elif variable not in schema.foreign_variables:
            near = get_close_matches(variable, schema.variables, 1)
            hint = f"; did you mean {near[0]}?" if near else "; unset it"
            problems.append(f"{variable}: no setting has this variable{hint}")
    return entries


def from_overrides(overrides: Sequence[str], schema: Schema, problems: list[str]) -> GivenSettings:
    entries: GivenSettings = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        dotted = name.strip()
        if not equals:
            problems.append(f"--set {override}: write it as NAME=VALUE: stages.NAME.workers=4")
            continue
        field = schema.field(dotted)
        value = _parse(text.strip(), field) if field is not None else text
        _accept(GivenSetting(value, "--set", dotted), entries, schema, problems)
    return entries


def from_flags(
    flags: Mapping[str, Any], pipeline: Pipeline, schema: Schema, problems: list[str]
) -> GivenSettings:
    names = {dotted: flag.name for flag in pipeline.flags for dotted in flag.sets}
    entries: GivenSettings = {}
    for dotted, value in flags.items():
        entry = GivenSetting(value, names.get(dotted, "command line"), dotted)
        _accept(entry, entries, schema, problems)
    return entries


def _accept(
    entry: GivenSetting, entries: GivenSettings, schema: Schema, problems: list[str]
) -> None:
    if schema.field(entry.name) is not None:
        entries[entry.name] = entry
    elif not schema.is_foreign(entry.name):
        problems.append(problem_line(entry, schema.why_unknown(entry.name)))


def _sections(document: dict[str, Any], schema: Schema) -> Iterator[tuple[str, Any]]:
    """Every table of settings by its section's name; where a plain value stands in the place of a
    table, that value."""
    for name, table in document.items():
        if name in (STAGES, schema.pipeline, *schema.foreign_pipelines) and isinstance(table, dict):
            for step, inner in table.items():
                yield f"{name}.{step}", inner
        else:
            yield name, table


def _unknown_section(whole: GivenSetting, schema: Schema) -> str:
    section = whole.name
    table, _, step = section.partition(".")
    if step and table != STAGES and not isinstance(whole.value, dict):
        return problem_line(
            whole, f"a stage's settings stand in a table of their own: [{table}.NAME]"
        )
    if step:
        problem = schema.why_unknown(section)
    elif section_of(section) in schema.sections:
        problem = f"a stage's settings stand in [{section_of(section)}]"
    elif section in (STAGES, schema.pipeline, *schema.foreign_pipelines):
        problem = f"has to hold one table for each stage: [{section}.NAME]"
    else:
        known = (LIMITS, DEFAULTS, STAGES, schema.pipeline)
        problem = f"no such section{did_you_mean(section, known)}"
    return f"{whole.origin}: [{section}]: {problem}"


def _parse(text: str, field: FieldInfo) -> Any:
    """`text` as a TOML value if the setting accepts that value, else `text` itself."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document.pop("value")
    if document:  # a line break in the text would add keys
        return text
    if isinstance(value, str) or _fits(value, field) or not _fits(text, field):
        return value
    return text


def _fits(value: Any, field: FieldInfo) -> bool:
    annotation: Any = field.annotation
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def _shown(value: Any) -> str:
    try:
        text = toml_value(value)
    except ValueError:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
