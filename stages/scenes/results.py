"""The end of a scenes run: every video's scenes in one folder.

WORKDIR/scenes/
    scenes.jsonl         a line for each scene of each video, videos in the order of their ids
    videos.jsonl         a line for each video: id, source, title, length, number of scenes, gaps,
                         summary, chapters
    scene.schema.json    the JSON Schema of a line of scenes.jsonl
    VIDEO/scenes/…       the pictures and clips that the lines name
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import FinishContext, Item, ItemRecord
from stages.files.folders import INFO, built_whole, link_or_copy
from stages.files.json_lines import json_line, read_lines
from stages.persistence.records import SCENES, SUMMARY
from stages.scenes.collect import Collect
from stages.scenes.describing.summary import Summarise
from stages.scenes.record import schema

RESULTS = "scenes"
VIDEOS = "videos.jsonl"


def build_results(context: FinishContext) -> list[str]:
    """Build WORKDIR/scenes from every finished video; the old one stays until the new is whole.
    Returns lines for the end-of-run report."""
    target = context.workdir / RESULTS
    videos = scenes = 0
    with built_whole(target) as folder:
        with (
            (folder / SCENES).open("w", encoding="utf-8") as all_scenes,
            (folder / VIDEOS).open("w", encoding="utf-8") as all_,
        ):
            for record in _finished(context):
                lines = read_lines(record.folder / Collect.name / SCENES)
                for line in lines:
                    all_scenes.write(json_line(_placed(line, record, folder)))
                all_.write(json_line(_video(record, lines)))
                videos, scenes = videos + 1, scenes + len(lines)
        (folder / "scene.schema.json").write_text(json.dumps(schema(), indent=2) + "\n")
    return [f"scenes: {_counted(scenes, 'scene')} of {_counted(videos, 'video')} in {target}"]


def _finished(context: FinishContext) -> Iterator[ItemRecord]:
    for record in context.items():
        item = Item(record.id, record.source, record.folder)
        if record.outcome == "done" and item.has_output(Collect.name):
            yield record


def _placed(line: dict[str, Any], record: ItemRecord, folder: Path) -> dict[str, Any]:
    """The line, with its pictures and its clip in the results' folder."""
    source = record.folder / Collect.name

    def place(name: str) -> str:
        target = folder / record.id / name
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source / name, target)
        return f"{record.id}/{name}"

    frames = [{**frame, "file": place(frame["file"])} for frame in line["frames"]]
    clip = line.get("clip")
    placed = clip and {**clip, "file": place(clip["file"])}
    return {**line, "frames": frames, "thumbnail": place(line["thumbnail"]), "clip": placed}


def _video(record: ItemRecord, lines: list[dict[str, Any]]) -> dict[str, Any]:
    info: dict[str, Any] = {}
    described = record.folder / Collect.name / INFO
    if described.exists():
        info = json.loads(described.read_text())
    return {
        "video": record.id,
        "source": record.source,
        "title": info.get("title"),
        "length": lines[-1]["end"] if lines else 0.0,
        "scenes": len(lines),
        "gaps": record.gaps,
        **_summary(record),
    }


def _summary(record: ItemRecord) -> dict[str, Any]:
    """The fields of summary.json; null where there is no summary."""
    file = record.folder / Summarise.name / SUMMARY
    if not file.exists():
        return {"summary": None, "chapters": None}
    told = json.loads(file.read_text())
    return {"chapters": told.pop("chapters"), "summary": told}


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
