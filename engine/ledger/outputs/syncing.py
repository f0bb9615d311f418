"""Syncing files to the disk, so that a renamed output survives a power cut too."""

import ctypes
import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MANY = 16
"""Number of files from which one flush of the file system is faster than one per file."""

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR)
"""Errors of shared folders and user-space file systems that cannot sync a folder, or open it for
that: keeping the folder's names is then their own task."""


def sync_tree(folder: Path) -> None:
    """Return once everything under `folder` is on the disk. Raises OSError."""
    paths = list(_tree(str(folder)))
    if len(paths) < MANY or not _sync_file_system(folder):
        for path in paths:
            sync(path)


def _tree(folder: str) -> Iterator[str]:
    """Every file and folder under `folder`; the content of a folder before the folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _tree(entry.path)
            elif not entry.is_symlink():
                yield entry.path
    yield folder


def sync(path: str) -> None:
    """Return once this file's content, or this folder's list of names, is on the disk.

    A file system that cannot sync a folder on demand keeps the folder's names itself.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED or not Path(path).is_dir():
            raise


def _sync_file_system(folder: Path) -> bool:
    """Flush the file system of `folder`; false where the system has no such call.

    Linux's syncfs(2), which Python does not offer: one flush for hundreds of files.
    """
    syncfs = getattr(_c_library(), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            if number in (*UNSUPPORTED, errno.ENOSYS):
                return False
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
    return True


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
