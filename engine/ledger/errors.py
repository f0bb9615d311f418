"""SQLite's errors about a ledger as messages that say what to do."""

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from engine.contract.errors import PenstockError, StopRun, WorkFolderError

FULL = 1 << 20
"""Bytes: with less free space, an I/O error of SQLite means a full disk."""


def explained(error: sqlite3.Error, path: Path) -> PenstockError:
    """The error, explained to the user of the ledger at `path`.

    Only a file that is no ledger at all is said to be safe to move away: a full disk is no reason
    to throw a ledger away.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _UNCLEAR and _disk_is_full(path)):
        return StopRun(
            f"the disk is full: the ledger {path} cannot be written; free some space and give the "
            "same command again"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return WorkFolderError(
            f"the ledger {path} is damaged ({error}); move {path.name}* out of the folder and give "
            f"the same list again: what stands whole in {path.parent / 'items'} is taken up, and "
            "only what failed is tried anew"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StopRun(f"the ledger {path} cannot be written ({error}); see to it and run again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return WorkFolderError(
            f"the ledger {path} may only be read ({error}); make its folder writable, or choose "
            "another with --out"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StopRun(
            f"the ledger {path} cannot be read or written ({error}); see to its disk and give the "
            "same command again"
        )
    return WorkFolderError(
        f"{path} cannot be used as a ledger ({error}); move it away or choose another work folder"
    )


_UNCLEAR = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)


def is_explained(error: BaseException) -> bool:
    """Whether the ledger or the disk is at fault, rather than the caller."""
    bugs = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, bugs)


def _disk_is_full(path: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < FULL
    return False
