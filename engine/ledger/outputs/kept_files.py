"""Files that a pipeline keeps in a work folder's cache for all of its items, such as paid answers:
which of them nobody has used for long."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

A_WRITE = 3600.0
"""Seconds after which a file that is still half written is a killed run's."""


def unused_files(workdir: Path, kept: Sequence[str], before: float) -> Iterator[tuple[Path, int]]:
    """The files, with their bytes, in these folders of the cache that were last used before then,
    in seconds since the epoch; and those that a killed run left half written, which are hidden."""
    cutoff = time.time() - A_WRITE
    for name in kept:
        for where, _, files in os.walk(workdir / "cache" / name):
            for file in files:
                path = Path(where, file)
                found = path.lstat()
                if found.st_mtime < (cutoff if file.startswith(".") else before):
                    yield path, found.st_size


def delete_unused(workdir: Path, kept: Sequence[str], before: float) -> int:
    """Delete them; returns their bytes."""
    freed = 0
    for path, size in unused_files(workdir, kept, before):
        path.unlink(missing_ok=True)
        freed += size
    return freed
