"""A finished video as a sink takes it, read from the outputs of the steps before."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import Item
from stages.files.folders import INFO
from stages.files.json_lines import read_lines
from stages.scenes.collect import SCENES
from stages.sinks.sink import VideoRecords

SUMMARY = "summary.json"

FACTS = ("source", "title", "uploader", "upload_date", "webpage_url")
"""What a video's document takes from info.json."""


def read_records(item: Item, scenes: Path, summary: Path | None) -> VideoRecords:
    """The records in the output folder `scenes` of collect, and in `summary`, where there is one.
    Pictures and clips are named as in WORKDIR/scenes/scenes.jsonl: VIDEO/scenes/…"""
    records = [_placed(record, item.root.id) for record in read_lines(scenes / SCENES)]
    document: dict[str, Any] = {"video": item.root.id}
    if (scenes / INFO).is_file():
        info = json.loads((scenes / INFO).read_text(encoding="utf-8"))
        document |= {name: info.get(name) for name in FACTS}
    document["length"] = records[-1]["end"] if records else 0.0
    document["scenes"] = len(records)
    if summary is not None and (summary / SUMMARY).is_file():
        document["summary"] = json.loads((summary / SUMMARY).read_text(encoding="utf-8"))
    return VideoRecords(item.root.id, document, records)


def _placed(record: Mapping[str, Any], video: str) -> dict[str, Any]:
    frames = [{**frame, "file": f"{video}/{frame['file']}"} for frame in record["frames"]]
    clip = record.get("clip")
    placed = clip and {**clip, "file": f"{video}/{clip['file']}"}
    return {
        **record,
        "frames": frames,
        "thumbnail": f"{video}/{record['thumbnail']}",
        "clip": placed,
    }
