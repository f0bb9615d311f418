"""The work folder: its layout, and the lock that admits one run at a time.

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

from engine.contract.errors import WorkFolderError
from engine.ledger.schema import FILE as LEDGER

LOCK = "penstock.lock"
HOLDER = "penstock.pid"

LOCK_FILES = (LOCK, HOLDER)
"""The files of the lock. A command that empties the work folder must leave them."""


@contextmanager
def locked(workdir: Path) -> Iterator[Path]:
    """Hold the work folder for the length of the block; it is made if it is missing, and what was
    made goes again where the block has left no ledger and nothing else.

    Raises WorkFolderError, naming the other process, while another run holds it. The lock belongs
    to the operating system, so a killed run's lock ends with its process.
    """
    made = _missing(workdir)
    try:
        (workdir / "items").mkdir(parents=True, exist_ok=True)
        _refuse_links(workdir)
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
        with suppress(OSError):  # it only tells other processes which one holds the lock
            _write_anew(workdir / HOLDER, json.dumps(holder))
        yield workdir
    finally:
        with suppress(OSError):  # a note that stays misleads nobody: the lock is what counts
            (workdir / HOLDER).unlink(missing_ok=True)
        if made and not (workdir / LEDGER).exists():  # the run was refused before it had begun
            _take_back(made)
        lock.release()


def _missing(workdir: Path) -> list[Path]:
    """What `locked` makes: the lock, and the folders, the inner ones first."""
    places = [workdir / LOCK, workdir / "items", workdir, *workdir.parents]
    return [place for place in places if not place.exists()]


def _take_back(made: list[Path]) -> None:
    for place in made:
        with suppress(OSError):  # a folder that something else is in
            if place.is_dir():
                place.rmdir()
            else:
                place.unlink()


def _refuse_links(workdir: Path) -> None:
    """Raises WorkFolderError where the folder holds a link in the place of something that a run
    writes or deletes.

    The folder itself may be a link, as its user chose it.
    """
    for name in ("items", LEDGER, LOCK):
        path = workdir / name
        if path.is_symlink():
            raise WorkFolderError(
                f"{path} is a symbolic link, which is not followed; remove it, or name the folder "
                "that it leads into with --out"
            )


def _write_anew(path: Path, text: str) -> None:
    """Write a new file at `path` and replace whatever is there, which may be a link."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w") as file:
        file.write(text)
    new.replace(path)


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
