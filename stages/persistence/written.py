"""What this work folder has put into sinks that others may share, and in which turns."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from stages.files.json_lines import append_line, read_whole_lines
from stages.sinks.sink import WrittenVideo

_writing = threading.Lock()


class WrittenHere:
    """Writes of videos, in a file of the work folder. Noted before they are made, so that what a
    killed run has put there is known too. From any thread."""

    def __init__(self, workdir: Path) -> None:
        self._file = workdir / "cache" / "persisted.jsonl"

    def note(self, sink: str, video: str, written: WrittenVideo) -> None:
        line = {"sink": sink, "video": video, "generation": written.generation}
        with _writing:
            append_line(self._file, {**line, "turn": written.turn})

    def read(self, sink: str) -> Mapping[str, Mapping[int, str]]:
        """By video the generations that were put into this sink, by their turns, in order. Those
        that were noted before there were turns have 0."""
        found: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for line in read_whole_lines(self._file):
            if line.get("sink", sink) == sink:
                found[line["video"]][line.get("turn", 0)] = line["generation"]
        return found
