"""Tables of a program's own in the file of a ledger, such as the requests that a service has
accepted: what stands there is on the disk when the call returns."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from engine.contract.errors import WorkFolderError
from engine.ledger.schema import FILE, connect, told

T = TypeVar("T")


class _Request:
    def __init__(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self.work = work
        self.value: object = None
        self.error: BaseException | None = None
        self.is_done = False


class OwnTables:
    """Tables beside those of the ledger of `workdir`, which are the run's alone: they are neither
    read nor written here.

    May be used by several threads at once. What they write at the same time becomes one
    transaction, so a hundred callers wait for a few syncs of the disk, not for a hundred.
    """

    def __init__(self, workdir: Path, schema: str) -> None:
        """`schema` makes the tables where they are missing. The work folder is held by a run of
        this process, so that nobody else has them. Raises WorkFolderError where it has no ledger,
        StopRun where the disk is to blame."""
        self._path = workdir / FILE
        if not self._path.is_file():
            raise WorkFolderError(f"{workdir} is not a work folder: it has no {FILE}")
        self._db = connect(self._path)
        self._waiting: list[_Request] = []
        self._gathering, self._writing = threading.Lock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        try:
            with told(self._path):
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(schema)
            self._reader = connect(self._path, read_only=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._db.close()
        if self._reader is not None:
            self._reader.close()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, and return its result once what it wrote is on the disk. Blocks.

        Raises the error of `work`, and then nothing of it was written; StopRun where the disk is
        full.
        """
        request = _Request(work)
        with self._gathering:
            self._waiting.append(request)
        with self._writing:
            if not request.is_done:
                with self._gathering:
                    batch, self._waiting = self._waiting, []
                self._write(batch)
        if request.error is not None:
            raise request.error
        return cast(T, request.value)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which reads, and return its result. Blocks, but for no writer."""
        assert self._reader is not None
        with self._reading, told(self._path):
            return work(self._reader)

    def _write(self, batch: list[_Request]) -> None:
        try:
            with told(self._path):
                self._db.execute("BEGIN IMMEDIATE")
                for request in batch:
                    self._try(request)
                self._db.execute("COMMIT")
        except BaseException as error:
            for request in batch:
                request.error = error
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        finally:
            for request in batch:
                request.is_done = True

    def _try(self, request: _Request) -> None:
        self._db.execute("SAVEPOINT one")
        try:
            request.value = request.work(self._db)
        except sqlite3.OperationalError:
            raise  # the disk, rather than this request
        except Exception as error:
            request.error = error
            self._db.execute("ROLLBACK TO one")
        self._db.execute("RELEASE one")
