"""Deletes leftovers of killed runs from a work folder when the next run has no room to start."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from engine.contract.item import PARTS

LEDGER_ROOM = 4 << 20
"""Free bytes that are needed to open the ledger and write it for a while."""


def make_room(workdir: Path, least: int = LEDGER_ROOM) -> int:
    """Free `least` bytes, if deleting leftovers can do so; returns the number of freed bytes. Call
    it only while no run is at work in the folder.

    Scratch folders of cut-off attempts are deleted first: nobody will read them. Then files that
    stages keep between attempts, such as half a download: the stages can make them again.
    """
    before = free = _free(workdir)
    if free >= least:
        return 0
    for path in _left(workdir, ".scratch-"):
        shutil.rmtree(path, ignore_errors=True)
    kept = sorted((_size(path), path) for path in _left(workdir, ".partial"))
    while kept and (free := _free(workdir)) < least:
        enough = (at for at, (size, _) in enumerate(kept) if size >= least - free)
        _, path = kept.pop(next(enough, -1))  # the smallest that is enough, else the largest
        shutil.rmtree(path, ignore_errors=True)
    return max(0, _free(workdir) - before)


def kept_between_attempts(workdir: Path) -> int:
    """Bytes that stages keep for another attempt at items that have not ended well."""
    return sum(_size(path) for path in _left(workdir, ".partial"))


def _left(workdir: Path, what: str) -> Iterator[Path]:
    items = workdir / "items"
    for folder in _folders(items) if items.is_dir() else ():
        yield from _left_in(folder, what)


def _left_in(folder: Path, what: str) -> Iterator[Path]:
    """Those of an item, or part, and of its parts."""
    for path in _folders(folder):
        if path.name.startswith("."):
            if what in path.name:
                yield path
        elif path.name.endswith(PARTS):
            for part in _folders(path):
                yield from _left_in(part, what)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _size(folder: Path) -> int:
    """Bytes on the disk of all files in the folder."""
    return sum(
        os.lstat(f"{where}/{name}").st_blocks * 512
        for where, _, names in os.walk(folder)
        for name in names
    )


def _free(workdir: Path) -> int:
    return shutil.disk_usage(workdir).free
