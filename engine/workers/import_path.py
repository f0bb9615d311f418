"""Where a child process imports a stage's class from: the same places as this process, no more."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from engine.contract.errors import UsageError


def importable(kind: type) -> tuple[str, str]:
    """The module name and the name inside it under which another process can import `kind`.

    A script that is run counts as a module named after its file. Raises UsageError for a class of
    no module.
    """
    name = kind.__module__
    if name == "__main__":
        main = sys.modules["__main__"]
        spec, file = main.__spec__, getattr(main, "__file__", None)
        if spec is None and file is None:
            raise UsageError(
                f"{kind.__qualname__}: a process cannot import what was typed in; write it into a "
                'file, or set placement = "thread"'
            )
        name = spec.name if spec is not None else Path(file or "").stem
    return name, kind.__qualname__


def import_path(found: Iterable[str], *modules: str) -> list[str]:
    """This process's `sys.path`, as it was `found`, without the current folder, which Python puts
    first for `python -c` and `python -m`: a file `queue.py` there would hide Python's own. Folders
    that `modules`, which are loaded here, need come last if they are nowhere else in the path.
    """
    path = [entry for entry in found if entry]
    if _starts_with_the_current_folder(path):
        del path[0]
    for name in modules:
        home = _home(sys.modules[name])
        if home is not None and home not in path:
            path.append(home)
    return path


def _starts_with_the_current_folder(path: Iterable[str]) -> bool:
    main = sys.modules["__main__"]
    if sys.flags.safe_path or main.__spec__ is None or not hasattr(main, "__file__"):
        return False
    return next(iter(path), None) == str(Path.cwd())


def _home(module: ModuleType) -> str | None:
    """The folder from which this module, or its package, is imported."""
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if file is None:
        return None
    if spec is None:  # a script
        return str(Path(file).resolve().parent)
    depth = spec.name.count(".") + (spec.submodule_search_locations is not None)
    return str(Path(file).parents[depth])
