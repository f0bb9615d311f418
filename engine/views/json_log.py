"""`--log-json FILE`: every event as one JSON object a line, for machines to read."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from engine.contract.errors import UsageError
from engine.telemetry.events import Event

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


class JsonLog:
    """A listener that appends each event to a file: its time (UTC), its name, its fields.

    Every line is handed to the operating system before the call returns. A file that can no longer
    be written (a full disk) does not stop a run: the log ends there and `problem` says why.

    Raises UsageError where the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        self._path = path
        try:
            torn = _ends_within_a_line(path)
            self._file = path.open("a", encoding="utf-8", buffering=1)
            if torn:
                self._file.write("\n")
        except OSError as error:
            raise UsageError(f"{path}: the log cannot be written: {error.strerror}") from None

    def __call__(self, event: Event) -> None:
        if self.problem is not None or self._file.closed:
            return
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": type(event).__name__,
            **{field.name: getattr(event, field.name) for field in fields(event)},
        }
        try:
            self._file.write(json.dumps(entry) + "\n")
        except OSError as error:
            self._fail(error)

    @property
    def is_standard_output(self) -> bool:
        """Whether its lines go where this process prints, as with `--log-json /dev/stdout`."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.fstat(STANDARD_OUTPUT))
        except OSError:  # it is closed
            return False

    def close(self) -> None:
        """Close the file. Events that come later are not written."""
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.problem = f"{self._path}: the log ends early: {error.strerror}"


@contextmanager
def printing_aside() -> Iterator[None]:
    """Have what this process prints during the block go to standard error: Python and what it
    calls, stages and their libraries. For a log that is standard output."""
    sys.stdout.flush()
    before = os.dup(STANDARD_OUTPUT)
    os.dup2(STANDARD_ERROR, STANDARD_OUTPUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(before, STANDARD_OUTPUT)
        os.close(before)


def _ends_within_a_line(path: Path) -> bool:
    """Whether a killed run left an unfinished line; the next event must not continue it."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
