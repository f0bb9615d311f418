"""What this work folder has put into sinks that other work folders may share."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from stages.files.json_lines import append_line, read_whole_lines

_writing = threading.Lock()


class WrittenHere:
    """Generations of videos by id, in a file of the work folder. Noted before they are written, so
    that what a killed run has put there is known too. From any thread."""

    def __init__(self, workdir: Path) -> None:
        self._file = workdir / "cache" / "persisted.jsonl"

    def note(self, video: str, generation: str) -> None:
        with _writing:
            append_line(self._file, {"video": video, "generation": generation})

    def read(self) -> Mapping[str, set[str]]:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for line in read_whole_lines(self._file):
            found[line["video"]].add(line["generation"])
        return found
