"""A table of all scenes: scenes.csv."""

import csv
from pathlib import Path

from stages.scenes.exports.reader import ScenesFolder
from stages.sinks.rows import row_of
from stages.sinks.texts import PASSAGE


def write(scenes: ScenesFolder, folder: Path) -> None:
    """Write scenes.csv into `folder`: a line for each scene of each video; pictures are named from
    WORKDIR/scenes on."""
    with (folder / "scenes.csv").open("w", encoding="utf-8", newline="") as file:
        table: csv.DictWriter[str] | None = None
        for video in scenes.videos():
            for record in video.scenes:
                row = row_of(video.document, record)
                if table is None:
                    table = csv.DictWriter(file, list(row))
                    table.writeheader()
                table.writerow(
                    {
                        name: value.replace(PASSAGE, " ") if isinstance(value, str) else value
                        for name, value in row.items()
                    }
                )
            scenes.written += 1
