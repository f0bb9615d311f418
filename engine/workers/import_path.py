"""Where another process imports a stage's class from: what this one could import, and no more."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from engine.contract.errors import UsageError


def importable(kind: type) -> tuple[str, str]:
    """The names of the module and in it of `kind`, for a process that imports it anew.

    A script that is run is a module too, by the name of its file. Raises UsageError for a class of
    none.
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


def import_path(*modules: str) -> list[str]:
    """This process's `sys.path` without the current folder, which Python puts before all others for
    `python -c` and `python -m`: a file `queue.py` there would go before Python's own. What is
    needed to import `modules`, which are loaded here, comes last if it is nowhere else.
    """
    path = [entry for entry in sys.path if entry]
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
    """The folder that this module's package, or the module, is imported from."""
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if file is None:
        return None
    if spec is None:  # a script
        return str(Path(file).resolve().parent)
    depth = spec.name.count(".") + (spec.submodule_search_locations is not None)
    return str(Path(file).parents[depth])
