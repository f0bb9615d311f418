"""Results of items in one folder, under names that people can read: who has which name.

FOLDER/.names/of/ITEM      the name of the item's files
FOLDER/.names/is/NAME      the id of the item whose files have the name
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stages.files.folders import link_or_copy

NAMES = ".names"
SCRATCH = ".scratch"


class Named:
    """The names in a folder of results. Nothing here takes longer where there are more of them.

    A name is an item's from `claim` or `note` until `release`. To be used by one at a time; if it
    is killed, the same calls made again come to the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = folder / NAMES / "of"
        self._items = folder / NAMES / "is"

    @property
    def is_there(self) -> bool:
        """Whether the folder has names: one of an earlier release has not."""
        return self._names.is_dir()

    def begin(self) -> None:
        """There are names from now on, none so far."""
        self._names.mkdir(parents=True, exist_ok=True)
        self._items.mkdir(exist_ok=True)

    def note(self, item: str, name: str) -> None:
        """The item has this name, whoever had it before."""
        had = self.name_of(item)
        _write(self._items / _key(name), item)
        _write(self._names / item, name)
        if had is not None and _key(had) != _key(name):
            self._free(had, item)

    def name_of(self, item: str) -> str | None:
        return _read(self._names / item)

    def claim(self, item: str, names: Iterator[str]) -> str:
        """The first of the names that is free or the item's own; it is the item's from then on."""
        for name in names:
            if _read(self._items / _key(name)) in (None, item):
                self.note(item, name)
                return name
        raise ValueError(f"{item}: none of its names is free")

    def release(self, item: str) -> None:
        """The item has no name any more."""
        name = self.name_of(item)
        if name is not None:
            self._free(name, item)
        (self._names / item).unlink(missing_ok=True)

    def _free(self, name: str, item: str) -> None:
        if _read(self._items / _key(name)) == item:
            (self._items / _key(name)).unlink()


def place(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy: in the place of what is there, and whole at
    any moment."""
    with suppress(OSError):
        if target.samefile(source):
            return  # renaming one link over another does nothing, and leaves both
    fresh = target.with_name(SCRATCH)
    fresh.unlink(missing_ok=True)
    link_or_copy(source, fresh)
    fresh.replace(target)


def sync_folder(folder: Path) -> None:
    """Have the names in the folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key(name: str) -> str:
    """Names that differ in case alone are one on some file systems."""
    return name.lower()


def _write(file: Path, text: str) -> None:
    fresh = file.parent.parent / SCRATCH
    fresh.write_text(text, "utf-8")
    fresh.replace(file)


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None
