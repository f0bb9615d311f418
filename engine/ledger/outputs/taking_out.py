"""Items that are taken out of a work folder: nothing of their folders ever looks whole."""

import shutil
from pathlib import Path

DOOMED = ".forgotten"
"""Where an item's folder is while it is being deleted."""


def set_aside(workdir: Path, folder: Path) -> None:
    """Move an item's folder away, to be deleted by `clear_aside`; nothing where there is none."""
    if folder.is_symlink():
        folder.unlink()  # the engine makes no links, and must not delete what it leads to
    elif folder.is_dir():
        (workdir / DOOMED).mkdir(exist_ok=True)
        clear_aside(workdir, folder.name)  # of one that was killed
        folder.rename(workdir / DOOMED / folder.name)


def clear_aside(workdir: Path, item: str | None = None) -> None:
    """Delete what was set aside: of this item, or all that killed ones have left."""
    doomed = workdir / DOOMED
    shutil.rmtree(doomed if item is None else doomed / item, ignore_errors=True)


def bytes_in(folder: Path) -> int:
    """Bytes of all files in an item's folder, links not followed."""
    if folder.is_symlink() or not folder.is_dir():
        return 0
    return sum(path.lstat().st_size for path in folder.rglob("*"))
