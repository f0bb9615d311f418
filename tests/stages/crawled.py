"""A small crawl's work folder: videos with frames, detections and descriptions, deduplicated."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

import engine
from engine import FinishContext, Item, ItemRecord
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.crawl.dataset.dedup import Dedup
from stages.crawl.pipeline import crawl


class Looks(engine.Settings):
    """Settings of a stage before dedup, as the dataset card shows them."""

    weights: str = engine.setting("/home/someone/models/best.pt", "Weights.")
    passed_on: dict[str, str] = engine.setting(lambda: {"password": "hunter2"}, "Options.")
    device: str = engine.setting("cpu", "Device.", affects_output=False)
    dry_run: bool = engine.setting(False, "Send nothing.")


@dataclass
class Shot:
    """One frame: `scene` decides what it shows; shots of one scene are near-duplicates."""

    scene: int
    time: float
    size: tuple[int, int] = (160, 120)
    sharpness: float = 100.0
    detections: Sequence[Mapping[str, Any]] = (
        {"class": "person", "confidence": 0.9, "box": [10.0, 20.0, 50.0, 100.0]},
    )
    description: str | None = "A person."
    quality: int = 90

    @property
    def file(self) -> str:
        return f"{self.time:010.3f}.jpg"

    def image(self) -> Image.Image:
        blobs = np.random.default_rng(self.scene).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(blobs).resize(self.size, Image.Resampling.BICUBIC)


@dataclass
class Crawl:
    """Makes items in `workdir` and remembers them as the ledger would."""

    workdir: Path
    settings: dict[str, BaseModel] = field(default_factory=dict)
    records: dict[str, ItemRecord] = field(default_factory=dict)
    knows: Sequence[str] = ()
    """The classes of the detector, if it wrote them down."""

    def __post_init__(self) -> None:
        self.settings = {"filter": Looks(), "describe": Looks(), "dedup": Dedup.Settings()}

    def video(
        self,
        source: str,
        shots: Sequence[Shot],
        info: Mapping[str, Any] | None = None,
        requests: Mapping[str, int] | None = None,
        parent: str | None = None,
    ) -> Item:
        """A video that went through every stage; `requests` are those of a dry run."""
        item = Item.at(self.workdir, source)
        with output(item, "filter") as out:
            _write_frames(out, shots, self.knows)
            write_lines(out / "info.json", [{"title": f"Video {source}", **(info or {})}])
        with output(item, "describe") as out:
            write_lines(out / "descriptions.jsonl", [_description(shot) for shot in shots])
            if requests is not None:
                write_lines(out / "requests.json", [requests])
        self.deduplicate(item)
        self.end(source, parent=parent)
        return item

    def deduplicate(self, item: Item) -> None:
        settings = self.settings["dedup"]
        stage = Dedup(settings, self.workdir)
        stage.open()
        with output(item, "dedup") as out:
            stage.process(item.with_inputs(crawl.inputs("dedup")), out)
        stage.close()

    def end(self, source: str, outcome: Any = "done", **ending: Any) -> Item:
        """The ledger's record of an item that ended."""
        item = Item.at(self.workdir, source)
        fields = dict.fromkeys(("parent", "stage", "reason", "kind", "expanded")) | ending
        self.records[item.id] = ItemRecord(item.id, source, item.folder, outcome=outcome, **fields)
        return item

    def context(self) -> FinishContext:
        def items() -> Iterator[ItemRecord]:
            return iter(sorted(self.records.values(), key=lambda record: record.id))

        return FinishContext(self.workdir, self.settings, {"penstock": "0.1.0"}, items)


@contextmanager
def output(item: Item, stage: str) -> Iterator[Path]:
    """Commits what the block writes as the output of a stage."""
    scratch = open_scratch(item, stage)
    yield scratch
    commit_output(item, stage, scratch, fingerprint="test")


def _write_frames(out: Path, shots: Sequence[Shot], knows: Sequence[str]) -> None:
    (out / "frames").mkdir()
    lines = []
    for shot in shots:
        shot.image().save(out / "frames" / shot.file, quality=shot.quality)
        lines.append(
            {
                "file": shot.file,
                "timestamp": shot.time,
                "width": shot.size[0],
                "height": shot.size[1],
                "keyframe": True,
                "sharpness": shot.sharpness,
                "brightness": 120.0,
                "detections": list(shot.detections),
            }
        )
    write_lines(out / "detections.jsonl", lines)
    counts = {"frames_in": len(shots) + 3, "frames_kept": len(shots), "rejected": {}}
    if knows:
        counts["names"] = list(knows)
    write_lines(out / "filter.json", [counts])


def _description(shot: Shot) -> dict[str, Any]:
    failed = shot.description is None
    return {
        "file": shot.file,
        "description": shot.description,
        "by": "openai:test-model",
        "reused_from": None,
        "error": "the model refused" if failed else None,
    }


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
