"""Bringing files to the disk, so that what was renamed into place outlives a power cut too."""

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MANY = 16
"""Files from which on it is faster to flush the file system once than every file by itself."""


def sync_tree(folder: Path) -> None:
    """Return once everything under `folder` is on the disk. Raises OSError where that fails."""
    paths = list(_tree(str(folder)))
    if len(paths) < MANY or not _sync_file_system(folder):
        for path in paths:
            sync(path)


def _tree(folder: str) -> Iterator[str]:
    """Every file and folder, what is in a folder before it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _tree(entry.path)
            elif not entry.is_symlink():
                yield entry.path
    yield folder


def sync(path: str) -> None:
    """Return once this file's content, or this folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: Path) -> bool:
    """Flush the file system that `folder` is on; false where the system has no call for that.

    Linux's syncfs(2), for which Python has no name: one flush for hundreds of frames.
    """
    syncfs = getattr(_c_library(), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
    return True


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
