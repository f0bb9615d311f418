"""A folder for the temporary files of one worker process, on the machine where the process runs."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "penstock-step-"

OLD = 3600.0
"""Seconds after which a folder that nobody holds counts as left behind."""


class OwnFolder:
    """Made with it, and held by a lock as long as this process lives or until it is removed. What
    processes have left that were killed, together with the ones that would have tidied up after
    them, is removed when the next one is made. Blocks."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        self._lock = _held(self.path)
        _remove_left_ones(Path(self.path).parent)

    def remove(self) -> None:
        """Does not raise; a second time it does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            shutil.rmtree(self.path, ignore_errors=True)


def _held(folder: str) -> int | None:
    """The open folder with a lock on it; None where another one holds it, or it has gone. The lock
    goes with the process, however that ends, and not to processes that it starts."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _remove_left_ones(among: Path) -> None:
    """A lock tells whether anybody is alive who uses a folder, also where that is another container
    that shares the place, whose processes cannot be seen from here."""
    for folder in among.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = folder.lstat()
            if about.st_uid != os.geteuid() or about.st_mtime > time.time() - OLD:
                continue
            lock = _held(str(folder))
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
