"""What `penstock --help` says of pipelines and commands, without loading them.

Importing every stage of every pipeline takes longer than all else that the help does. Where a
module states the summary of its pipeline as plain text, or its command is a function with a
docstring, the source is enough; all others are loaded.
"""

import ast
from contextlib import suppress
from importlib.abc import InspectLoader
from importlib.util import find_spec

import click

from engine.contract import registry

SHAPING = {"help", "short_help", "hidden", "deprecated"}
"""What a command's decorator may say that its docstring does not."""


def listed(group: str, name: str) -> click.Command | None:
    """A command that stands for the one of this name in a list of commands; None where only the
    loaded one knows what to say of itself."""
    told = None
    with suppress(Exception):  # another package's module: whoever loads it reports what is wrong
        module, _, attribute = registry.place(group, name).partition(":")
        spec = find_spec(module)
        if spec is not None and isinstance(spec.loader, InspectLoader):
            told = _told_by(spec.loader.get_source(module) or "", attribute)
    return click.Command(name, help=told) if told else None


def _told_by(source: str, attribute: str) -> str | None:
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(keywords=keywords)) if (
                name == attribute
            ):
                return _summary(keywords)
            case ast.FunctionDef(name=name) if name == attribute and not _is_shaped(node):
                return ast.get_docstring(node)
    return None


def _summary(keywords: list[ast.keyword]) -> str | None:
    for one in keywords:
        match one:
            case ast.keyword(arg="summary", value=ast.Constant(value=str(text))):
                return text
    return None


def _is_shaped(function: ast.FunctionDef) -> bool:
    for one in function.decorator_list:
        match one:
            case ast.Call(func=ast.Attribute(attr="command" | "group"), keywords=keywords):
                return any(keyword.arg in SHAPING for keyword in keywords)
    return False
