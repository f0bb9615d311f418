"""What is made is whole: no attribute of the engine's classes waits for a second call to be there.

Read from the syntax trees. A contract's class is left out: what `Stage` declares, the engine sets
before an author's code sees it.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import engine

ENGINE = Path(engine.__file__).parent

CONTRACTS = {"Stage"}


def classes() -> dict[str, ast.ClassDef]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in ENGINE.rglob("*.py")]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


def methods(made: ast.ClassDef) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    found = (node for node in made.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: node for node in found}


def own(node: ast.AST) -> str | None:
    """The attribute of `self` that this is, if it is one."""
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return node.attr if is_own and node.value.id == "self" else None  # type: ignore[attr-defined]


def assigned(node: ast.AST) -> Iterator[str]:
    """The attributes of `self` that get a value in it."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            name = own(inner)
            if name is not None:
                yield name


def declared_without_a_value(made: ast.ClassDef) -> set[str]:
    return {
        name
        for method in methods(made).values()
        for node in ast.walk(method)
        if isinstance(node, ast.AnnAssign) and node.value is None
        if (name := own(node.target)) is not None
    }


def there_when_made(made: ast.ClassDef, all_: Mapping[str, ast.ClassDef]) -> set[str]:
    """What the class declares, and what `__init__` sets, itself or by what it calls; also of the
    classes that this one is based on."""
    found: set[str] = set()
    for node in made.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else []
        targets += node.targets if isinstance(node, ast.Assign) else []
        found.update(target.id for target in targets if isinstance(target, ast.Name))
    inside = methods(made)
    if "__init__" in inside:
        calls = [node.func for node in ast.walk(inside["__init__"]) if isinstance(node, ast.Call)]
        for method in ["__init__", *(name for call in calls if (name := own(call)) in inside)]:
            found.update(assigned(inside[str(method)]))
    for base in made.bases:
        name = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(name, ast.Name) and name.id in all_ and name.id != made.name:
            found |= there_when_made(all_[name.id], all_)
    return found


def test_no_attribute_is_declared_without_a_value() -> None:
    lacking = {name: declared_without_a_value(made) for name, made in classes().items()}
    assert {name: unset for name, unset in lacking.items() if unset} == {}


def test_no_attribute_comes_later() -> None:
    all_ = classes()
    late = {
        name: {attribute for method in methods(made).values() for attribute in assigned(method)}
        - there_when_made(made, all_)
        - declared_without_a_value(made)
        for name, made in all_.items()
        if name not in CONTRACTS
    }
    assert {name: attributes for name, attributes in late.items() if attributes} == {}
