"""The results of a scenes run for an export, video by video."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from engine import UsageError
from stages.files.json_lines import read_lines
from stages.persistence.records import SCENES
from stages.scenes.results import VIDEOS


@dataclass(frozen=True, slots=True)
class ScenesOfVideo:
    """A video's document, as videos.jsonl has it, and the records of its scenes in order."""

    document: Mapping[str, Any]
    scenes: list[Mapping[str, Any]]

    @property
    def video(self) -> str:
        return str(self.document["video"])


class ScenesFolder:
    """The folder of results. Raises UsageError where it holds none, or no scene."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / SCENES).is_file():
            raise UsageError(
                f"{folder.parent} holds no scenes; run `penstock scenes` with that work folder to "
                "its end first"
            )
        documents = read_lines(folder / VIDEOS)
        self._documents = {document["video"]: document for document in documents}
        if not any(document["scenes"] for document in documents):
            raise UsageError(f"{folder} has no scenes, so there is nothing to export")
        self.written = 0
        """Videos of which something was written."""

    def videos(self) -> Iterator[ScenesOfVideo]:
        """Every video that has scenes, in the order of their ids."""
        with (self.folder / SCENES).open(encoding="utf-8") as file:
            records = map(json.loads, file)
            for video, scenes in groupby(records, key=lambda record: record["video"]):
                yield ScenesOfVideo(self._documents[video], list(scenes))

    def summary(self) -> str:
        """ "3 of 5 videos"."""
        whole = len(self._documents)
        return f"{self.written} of {whole} {'video' if whole == 1 else 'videos'}"
