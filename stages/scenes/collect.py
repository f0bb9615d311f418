"""The collect stage: the scenes of a video in one place, in order."""

import json
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Stage
from stages.files.folders import INFO, link_or_copy
from stages.files.json_lines import write_lines
from stages.scenes.describing.description_of_scene import with_description
from stages.scenes.fuse import RECORD

SCENES = "scenes.jsonl"


class Collect(Stage):
    """Gather a video's records.

    Of `records` it reads record.json of each scene and the pictures that it names, of
    `descriptions` each description.json, of `video` info.json, where there is one. It writes
    scenes.jsonl, the pictures under scenes/INDEX/, and info.json.
    """

    inputs = ("records", "video")
    optional_inputs = "descriptions"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        """There are none."""

    settings: "Collect.Settings"

    def process(self, item: Item, out: Path) -> None:
        lines = []
        for part in item.parts("records"):
            source = part.input("records")
            record = json.loads((source / RECORD).read_text())
            place = f"scenes/{record['index']:06}"
            (out / place / "frames").mkdir(parents=True)
            for frame in record["frames"]:
                link_or_copy(source / frame["file"], out / place / frame["file"])
                frame["file"] = f"{place}/{frame['file']}"
            link_or_copy(source / record["thumbnail"], out / place / record["thumbnail"])
            record["thumbnail"] = f"{place}/{record['thumbnail']}"
            lines.append(with_description(record, part))
        write_lines(out / SCENES, lines)
        info = item.input("video") / INFO
        if info.exists():
            link_or_copy(info, out / INFO)
