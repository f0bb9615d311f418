"""Frames per second of the filter stage, against the bare model on frames already decoded.

    python benchmarks/filter_speed.py                       # the detector that ships, 640 pixels
    python benchmarks/filter_speed.py --weights yolo11n.pt --json filter_speed.json

The stage reads JPEGs from the disk, measures them, detects, links what it keeps and writes its
outputs. Beside it, in the same run and in turn with it, ultralytics' predict() goes over the same
frames, as arrays in memory, in the same batches. The ratio says what the stage costs beyond the
model; 1 means that decoding hides behind inference.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine import Item
from engine.item import commit_output, open_scratch
from stages.demo.shapes import WEIGHTS, random_scene
from stages.filter import Filter
from stages.yolo import find_weights, import_ultralytics

WIDTH, HEIGHT = 640, 360


def write_frames(folder: Path, count: int) -> None:
    """What the extract stage leaves: `count` JPEGs of synthetic scenes, and their list."""
    (folder / "frames").mkdir()
    with (folder / "frames.jsonl").open("w") as lines:
        for second in range(count):
            name = f"{second:010.3f}.jpg"
            random_scene(second, WIDTH, HEIGHT)[0].save(folder / "frames" / name, quality=90)
            line = {"file": name, "timestamp": float(second), "width": WIDTH, "height": HEIGHT}
            lines.write(json.dumps({**line, "keyframe": True}) + "\n")


def bare_model(weights: str, frames: Path, settings: Filter.Settings) -> Callable[[], None]:
    """ultralytics' predict over all frames, decoded beforehand."""
    import cv2

    model = import_ultralytics().YOLO(str(find_weights(weights)), task="detect")
    images = [cv2.imread(str(path)) for path in sorted(frames.iterdir())]
    batch = settings.inference_batch

    def run() -> None:
        for start in range(0, len(images), batch):
            model.predict(
                images[start : start + batch],
                conf=settings.confidence,
                iou=settings.iou,
                imgsz=settings.image_size,
                verbose=False,
            )

    return run


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=str(WEIGHTS))
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="few frames and repeats; not to quote")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    frames, repeats = (32, 3) if arguments.quick else (arguments.frames, arguments.repeats)

    with tempfile.TemporaryDirectory(prefix="penstock-filter-speed-") as folder:
        item = Item.at(Path(folder), "filter-speed")
        scratch = open_scratch(item, "extract")
        write_frames(scratch, frames)
        commit_output(item, "extract", scratch, "benchmark")
        settings = Filter.Settings(
            weights=arguments.weights,
            classes=(),
            image_size=arguments.image_size,
            inference_batch=arguments.batch,
            keep_empty=True,
        )
        stage = Filter(settings, Path(folder))
        stage.open()
        bare = bare_model(arguments.weights, item.output("extract") / "frames", settings)

        def filtered() -> None:
            stage.process(item, open_scratch(item, "filter"))

        filtered()
        bare()
        rounds = [(seconds(filtered), seconds(bare)) for _ in range(repeats)]
        stage.close()

    ratios = sorted(bare_took / stage_took for stage_took, bare_took in rounds)
    figures = {
        "frames": frames,
        "repeats": repeats,
        "weights": Path(arguments.weights).name,
        "image_size": arguments.image_size,
        "batch": arguments.batch,
        "stage_frames_per_second": frames / statistics.median(took for took, _ in rounds),
        "bare_frames_per_second": frames / statistics.median(took for _, took in rounds),
        "ratio": statistics.median(ratios),
        "ratio_lowest": ratios[0],
        "ratio_highest": ratios[-1],
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(
        f"{figures['weights']} at {arguments.image_size} pixels, batches of {arguments.batch}: "
        f"stage {figures['stage_frames_per_second']:.1f} frames/s, "
        f"bare predict {figures['bare_frames_per_second']:.1f}, "
        f"ratio {figures['ratio']:.2f} [{ratios[0]:.2f} to {ratios[-1]:.2f}]"
        + (" (quick: not to quote)" if arguments.quick else "")
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
