"""What killed runs left in a work folder: deleted where it keeps the next run from starting."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

LEDGER_ROOM = 4 << 20
"""Bytes that have to be free for the ledger to be opened and written for a while."""


def make_room(workdir: Path, least: int = LEDGER_ROOM) -> int:
    """See to it that `least` bytes are free, if leftovers can bring that about; returns how many
    bytes were freed. Call it only while no run is at work in the folder.

    Attempts that were cut off go first: nobody will look at them. Then goes what stages keep
    between attempts, such as half a download, which they would only have to make again.
    """
    before = free = _free(workdir)
    if free >= least:
        return 0
    for path in _left(workdir, ".scratch-"):
        shutil.rmtree(path, ignore_errors=True)
    kept = sorted((_size(path), path) for path in _left(workdir, ".partial"))
    while kept and (free := _free(workdir)) < least:
        enough = (at for at, (size, _) in enumerate(kept) if size >= least - free)
        _, path = kept.pop(next(enough, -1))  # the smallest that will do, else the largest
        shutil.rmtree(path, ignore_errors=True)
    return max(0, _free(workdir) - before)


def kept_between_attempts(workdir: Path) -> int:
    """The bytes of what stages keep for another attempt at items that have not ended well."""
    return sum(_size(path) for path in _left(workdir, ".partial"))


def _left(workdir: Path, what: str) -> Iterator[Path]:
    items = workdir / "items"
    for folder in items.iterdir() if items.is_dir() else ():
        if folder.is_dir() and not folder.is_symlink():
            for path in folder.iterdir():
                if path.name.startswith(".") and what in path.name and not path.is_symlink():
                    yield path


def _size(folder: Path) -> int:
    """Bytes on the disk of all that is in the folder."""
    return sum(
        os.lstat(f"{where}/{name}").st_blocks * 512
        for where, _, names in os.walk(folder)
        for name in names
    )


def _free(workdir: Path) -> int:
    return shutil.disk_usage(workdir).free
