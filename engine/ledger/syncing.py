"""Bringing files to the disk, so that what was renamed into place outlives a power cut too."""

import ctypes
import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MANY = 16
"""Files from which on it is faster to flush the file system once than every file by itself."""

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR)
"""What shared folders and file systems in user space say to a folder that is to be synced, or
opened for it, when they have no such thing: it is theirs to keep a folder's names then."""


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
    """Return once this file's content, or this folder's list of names, is on the disk.

    A folder's names are left to a file system that cannot bring them there on demand.
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
    """Flush the file system that `folder` is on; false where there is no call for that.

    Linux's syncfs(2), for which Python has no name: one flush for hundreds of files.
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
