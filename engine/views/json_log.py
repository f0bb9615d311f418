"""`--log-json FILE`: every event as one JSON object a line, for machines to read."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from engine.contract.errors import UsageError
from engine.telemetry.events import Event


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

    def close(self) -> None:
        """Close the file. Events that come later are not written."""
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.problem = f"{self._path}: the log ends early: {error.strerror}"


def _ends_within_a_line(path: Path) -> bool:
    """Whether a killed run left an unfinished line; the next event must not continue it."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
