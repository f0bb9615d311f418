"""Who is measured beside the filter stage, and itself: predict, and the network alone."""

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Contestant, Figures, timed
from engine import SOURCE, Item, Pipeline, Stage, Step
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.filter import Filter
from stages.models.detector import Detector
from stages.models.network_input import as_input
from stages.models.yolo import import_torchvision, import_ultralytics

SHORT = 15
"""Frames of a short video."""

FPS, PROCESSOR, BUSY = "frames/s", "CPU s a frame", "model busy, share"


@dataclass(frozen=True, slots=True)
class Case:
    """What all contestants are given."""

    folder: Path
    frames: int
    image_size: int
    confidence: float
    device: str
    half: bool

    @property
    def files(self) -> Path:
        return Item.at(self.folder, "long").output("extract") / "frames"

    def settings(self, weights: Path, batch: int, runtime: str = "torch") -> Filter.Settings:
        return Filter.Settings(
            weights=str(weights),
            runtime=runtime if weights.suffix == ".pt" else "auto",
            classes=(),
            confidence=self.confidence,
            image_size=self.image_size,
            inference_batch=batch,
            device=self.device,
            half=self.half,
            decode_threads=max(2, (os.cpu_count() or 2) - 2) if self.device != "cpu" else 2,
            keep_empty=True,
        )


def rated(frames: int, turn: Contestant) -> Contestant:
    """The same turn, in frames a second and processor time a frame."""

    def rate() -> Figures:
        figures = turn()
        return {
            FPS: frames / figures["wall s"],
            PROCESSOR: figures["CPU s"] / frames,
            **{name: value for name, value in figures.items() if name == BUSY},
        }

    return rate


def penstock(
    case: Case, weights: Path, batch: int, closing: ExitStack, runtime: str = "torch"
) -> Contestant:
    """The stage over the long video."""
    stage = Filter(case.settings(weights, batch, runtime), case.folder)
    stage.open()
    closing.callback(stage.close)
    item = Item.at(case.folder, "long").with_inputs({"frames": "extract"})

    def work() -> None:
        out = open_scratch(item, "filter")
        stage.process(item, out)
        shutil.rmtree(out)

    turn = timed(work)

    def measured() -> Figures:
        before = stage.detector.busy
        figures = turn()
        busy = (stage.detector.busy - before) / stage.detector.streams
        return {**figures, BUSY: busy / figures["wall s"]}

    return rated(case.frames, measured)


def predict(case: Case, weights: Path, batch: int, threads: int = 1) -> Contestant:
    """ultralytics' predict over the folder; by itself it gives torch one thread."""
    import torch

    model = import_ultralytics().YOLO(str(weights), task="detect")
    import_torchvision()
    settings = case.settings(weights, batch)

    def work() -> None:
        torch.set_num_threads(threads)
        results = model.predict(
            case.files,
            stream=True,
            batch=batch,
            conf=settings.confidence,
            iou=settings.iou,
            imgsz=settings.image_size,
            device=None if case.device == "auto" else case.device,
            quantize=16 if case.half else None,
            verbose=False,
        )
        assert sum(1 for _ in results) == case.frames

    return rated(case.frames, timed(work))


def network(
    case: Case, weights: Path, batch: int, closing: ExitStack, exported: Path | None = None
) -> Contestant:
    """The network alone, over and over on one batch of tensors that are where it computes."""
    import cv2
    import torch

    settings = case.settings(weights, batch)
    detector = Detector(
        weights,
        exported=exported,
        confidence=settings.confidence,
        image_size=settings.image_size,
        batch=batch,
        device=settings.device,
        half=settings.half,
    )
    closing.callback(detector.close)
    images = [cv2.imread(str(path)) for path in sorted(case.files.iterdir())[: detector.batch]]
    pixels = [detector.prepare(image).pixels for image in images]
    ready = as_input(pixels, detector.model)
    times = -(-case.frames // len(images))

    def work() -> None:
        for inference in [detector.run(lambda model: model(ready)) for _ in range(times)]:
            inference.result()
        if ready.device.type == "cuda":
            torch.cuda.synchronize()

    return rated(times * len(images), timed(work))


class SameFrames(Stage):
    """Stands in for the stage before: every video has the same few frames."""

    name = "extract"

    def process(self, item: Item, out: Path) -> None:
        """Links what `main` has drawn."""
        shutil.copytree(
            self.workdir.parent / "short", out, copy_function=os.link, dirs_exist_ok=True
        )


def crawl(
    case: Case, weights: Path, batch: int, videos: int, workers: int, runtime: str
) -> Contestant:
    """A run of the engine over short videos, timed while the filter has work."""
    pipeline = Pipeline(
        "short", "Short videos.", [Step(SameFrames, SOURCE), Step(Filter, "extract")]
    )
    settings = case.settings(weights, batch, runtime).model_dump(mode="json", exclude_none=True)
    chosen = [f"stages.filter.{name}={json.dumps(value)}" for name, value in settings.items()]
    chosen += [f"stages.filter.workers={workers}", "stages.filter.queue=32", "limits.free_disk=0"]
    config = load_config(pipeline, None, {}, chosen, {})

    def turn() -> Figures:
        with tempfile.TemporaryDirectory(dir=case.folder) as folder:
            sources = (f"video {number}" for number in range(videos))
            report = run_pipeline(pipeline, config, Path(folder), sources)
            assert report.items["done"] == videos
            return {FPS: videos * SHORT / filter_seconds(Path(folder))}

    return turn


def filter_seconds(workdir: Path) -> float:
    """From the first attempt of the filter to the end of its last: without loading the model."""
    with closing(sqlite3.connect(workdir / "penstock.db")) as ledger:
        first, last = ledger.execute(
            "SELECT min(started), max(ended) FROM attempts WHERE stage = 'filter'"
        ).fetchone()
    return float(last - first)
