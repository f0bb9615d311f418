"""A finished video as a sink takes it, read from the outputs of the steps before."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import Item
from stages.files.folders import INFO
from stages.files.json_lines import read_lines
from stages.sinks.sink import VideoRecords

SCENES = "scenes.jsonl"
SUMMARY = "summary.json"
DOCUMENT = "document.json"
"""What a step before writes of a video: a line for each scene, or for each piece of a document; a
summary; a document."""

DOCUMENTS = "documents"
"""The folder of a run's documents, in its work folder."""

WRITE = "write"
"""The step that writes a document; it has the pictures that the records name."""

FACTS = ("source", "title", "uploader", "upload_date", "webpage_url")
"""What a video's document takes from info.json."""


def read_records(item: Item, scenes: Path, summary: Path | None) -> VideoRecords:
    """The records in the output folder `scenes`, and in `summary`, where there is one; and the
    document beside the records. Pictures and clips are named as in the run's results: VIDEO/…"""
    records = [_placed(record, item.root.id) for record in read_lines(scenes / SCENES)]
    document: dict[str, Any] = {"video": item.root.id}
    if (scenes / INFO).is_file():
        info = json.loads((scenes / INFO).read_text(encoding="utf-8"))
        document |= {name: info.get(name) for name in FACTS}
    document["length"] = max((record["end"] for record in records), default=0.0)
    document["scenes"] = len(records)
    if summary is not None and (summary / SUMMARY).is_file():
        document["summary"] = json.loads((summary / SUMMARY).read_text(encoding="utf-8"))
    if (scenes / DOCUMENT).is_file():
        document["document"] = json.loads((scenes / DOCUMENT).read_text(encoding="utf-8"))
    return VideoRecords(item.root.id, document, records)


def _placed(record: Mapping[str, Any], video: str) -> dict[str, Any]:
    placed = dict(record)
    if "frames" in record:
        frames = record["frames"]
        placed["frames"] = [{**frame, "file": f"{video}/{frame['file']}"} for frame in frames]
    if record.get("thumbnail"):
        placed["thumbnail"] = f"{video}/{record['thumbnail']}"
    if clip := record.get("clip"):
        placed["clip"] = {**clip, "file": f"{video}/{clip['file']}"}
    return placed
