"""Runs the extract stage on a file, and reads what it wrote."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engine import Item
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.extract import Extract
from tests.stages.clips import frame_number
from tests.stages.splitting import split_whole


@dataclass
class Output:
    folder: Path

    @property
    def frames(self) -> list[dict[str, object]]:
        lines = (self.folder / "frames.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def summary(self) -> dict[str, object]:
        return json.loads((self.folder / "extract.json").read_text())

    @property
    def numbers(self) -> list[int]:
        """Which frames of the clip these are, read from their pixels."""
        files = (self.folder / "frames" / str(frame["file"]) for frame in self.frames)
        return [frame_number(np.asarray(Image.open(file))) for file in files]

    @property
    def milliseconds(self) -> list[int]:
        return [round(float(str(frame["timestamp"])) * 1000) for frame in self.frames]

    def all_bytes(self) -> dict[str, bytes]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


def downloaded(path: Path) -> Callable[[Path], None]:
    """Writes what download would write of this file."""

    def write(folder: Path) -> None:
        (folder / f"video{path.suffix}").symlink_to(path)
        (folder / "info.json").write_text(json.dumps({"file": f"video{path.suffix}"}))

    return write


def run_extract(
    make_item: Callable[..., Item], workdir: Path, path: Path, **settings: object
) -> Output:
    """Run the stage on a file that is already there."""
    item = make_item(str(path), download=downloaded(path))
    stage = Extract(Extract.Settings(**settings), workdir=workdir)
    out = open_scratch(item, "extract")
    stage.open()
    try:
        split_whole(stage, item.with_inputs({"video": "download"}), out)
    finally:
        stage.close()
    return Output(out)
