"""The collect stage: the scenes of a video in one place, in order."""

import json
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Stage
from stages.files.folders import INFO, link_or_copy
from stages.files.json_lines import write_lines
from stages.persistence.records import SCENES
from stages.scenes.cuts.clips import read_clip
from stages.scenes.describing.description_of_scene import with_description
from stages.scenes.fuse import RECORD
from stages.scenes.record import Gap


class Collect(Stage):
    """Gather a video's records.

    Of `records` it reads record.json of each scene and the pictures that it names, of
    `descriptions` each description.json, of `clips`, where there are any, clip.json and the file
    that it names, of `video` info.json, where there is one. It writes
    scenes.jsonl, the pictures and the clip under scenes/INDEX/, and info.json.
    """

    inputs = ("records", "video")
    optional_inputs = ("descriptions", "clips")
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
            if part.has_input("clips"):
                clip = read_clip(part.input("clips"))
                link_or_copy(part.input("clips") / clip["file"], out / place / clip["file"])
                record["clip"] = clip | {"file": f"{place}/{clip['file']}"}
            elif (why := part.why_failed("clips")) is not None:
                record["gaps"].append(Gap(branch="clip", why=why).model_dump())
            lines.append(with_description(record, part))
        write_lines(out / SCENES, lines)
        info = item.input("video") / INFO
        if info.exists():
            link_or_copy(info, out / INFO)
