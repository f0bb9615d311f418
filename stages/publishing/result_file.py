"""The file of a result: one JSON object with all that has come of an item, a record a line.

{"item", "source", "about", "summary", "files": {name: {"url", "size"}, …}, "expires", "records":
[…]}. It is written piece by piece, so that it may be larger than the memory; and each record, and
each file, stands on a line of its own, so that it can be read so too.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class ResultWriter:
    """Writes one, in the order of the methods. Blocks."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        """`facts` are the first fields."""
        self._file = path.open("w", encoding="utf-8")
        self._has_files = False
        self._file.write("{\n")
        for name, value in facts.items():
            self._file.write(f"{_text(name)}: {_text(value)},\n")
        self._file.write('"files": {')

    def add_files(self, files: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Some files by their names, as often as there are more."""
        for name, told in files:
            self._file.write(f"{',' if self._has_files else ''}\n{_text(name)}: {_text(told)}")
            self._has_files = True

    def end(self, expires: str | None, records: Path) -> int:
        """The records of this file, .json or .jsonl, and the end; returns their number. `expires`:
        when the first link of the files does."""
        self._file.write(f'\n}},\n"expires": {_text(expires)},\n"records": [')
        count = 0
        with records.open(encoding="utf-8") as lines:
            for line in [_text(json.load(lines))] if records.suffix == ".json" else lines:
                self._file.write(f"{',' if count else ''}\n{line.rstrip()}")
                count += 1
        self._file.write("\n]\n}\n")
        self._file.flush()
        return count

    def close(self) -> None:
        self._file.close()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
