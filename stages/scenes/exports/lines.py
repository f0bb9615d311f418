"""A table of all scenes as JSON lines: scenes.jsonl."""

from pathlib import Path

from stages.files.json_lines import json_line
from stages.scenes.exports.reader import ScenesFolder
from stages.sinks.rows import row_of


def write(scenes: ScenesFolder, folder: Path) -> None:
    """Write scenes.jsonl into `folder`: an object for each scene, flat, with the columns of the CSV
    table. The whole records are in WORKDIR/scenes/scenes.jsonl."""
    with (folder / "scenes.jsonl").open("w", encoding="utf-8") as file:
        for video in scenes.videos():
            file.writelines(json_line(row_of(video.document, one)) for one in video.scenes)
            scenes.written += 1
