"""The work folder: one run at a time, and where things stand in it.

WORKDIR/penstock.db     the ledger
WORKDIR/penstock.lock   held by the run at work
WORKDIR/items/          every item's outputs
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import WorkFolderError

LOCK = "penstock.lock"
HOLDER = "penstock.pid"


@contextmanager
def locked(workdir: Path) -> Iterator[Path]:
    """Hold the work folder for the length of the block; it is made if it is missing.

    Raises WorkFolderError, naming the other's process, while another run holds it. The lock is the
    operating system's, so that of a killed run is gone with it.
    """
    try:
        (workdir / "items").mkdir(parents=True, exist_ok=True)
        lock = FileLock(workdir / LOCK)
        lock.acquire(blocking=False)
    except Timeout:
        raise WorkFolderError(
            f"{workdir} is in use by {_holder(workdir)}; wait for it, stop it, or choose another "
            "folder with --out"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise WorkFolderError(
            f"{workdir} cannot be used as a work folder: {reason}; choose another with --out"
        ) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with suppress(OSError):  # it only tells others who is at work
            (workdir / HOLDER).write_text(json.dumps(holder))
        yield workdir
        (workdir / HOLDER).unlink(missing_ok=True)
    finally:
        lock.release()


def is_locked(workdir: Path) -> bool:
    """Whether a run is at work in the folder."""
    lock = FileLock(workdir / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return False  # a folder that we may only read
    lock.release()
    return False


def _holder(workdir: Path) -> str:
    try:
        holder = json.loads((workdir / HOLDER).read_text())
    except (OSError, ValueError):
        return "another process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
    return f"process {holder['pid']} on {holder['host']}, at work since {since}"
