"""What other runtimes find in frames, against what torch finds, and the processor time they take.

    python -m benchmarks.filter_agreement                                  # made-up frames
    python -m benchmarks.filter_agreement --folder clips --weights mine.pt

Each detection is counted: the same is one of the same class whose box has no edge more than a pixel
away, and whose confidence differs by a hundredth at most, at the stage's default thresholds. The
frames are one a second of the videos in --folder. --weights is a .pt, or an ONNX file that
ultralytics exported and ONNX Runtime quantised: its numbers are made a .pt, as a trained one may
not be at hand. The processor time is that of the detector alone, in turns, so that it says
something on a busy machine too.
"""

import ast
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.harness import finish, parse, parser, ratios, take_turns, timed
from benchmarks.results import Measurement, Row, Table, Target
from engine.bench.intervals import interval
from stages.demo.shapes import WEIGHTS, random_scene
from stages.models.content import content_hash
from stages.models.detector import Detection, Detector
from stages.models.exports import exported
from stages.models.yolo import import_ultralytics

PIXELS, CONFIDENCE = 1.0, 0.01
"""What counts as the same: no edge of the box further away, and no confidence."""

LONGER_SIDE = 640
"""Of the frames, in pixels, which is what extract keeps by default."""

TIMED = 48
"""Frames in one turn of the clock."""

Image = np.ndarray[Any, np.dtype[np.uint8]]


def real_frames(folder: Path, every: float) -> list[Image]:
    """A frame of each video in the folder for each `every` seconds, BGR."""
    return [frame for path in sorted(folder.iterdir()) for frame in _frames(path, every)]


def _frames(video: Path, every: float) -> Iterator[Image]:
    count = 0
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < count * every:
                continue
            count += 1
            image = frame.to_ndarray(format="bgr24")
            scale = min(1.0, LONGER_SIDE / max(image.shape[:2]))
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def drawn_frames(count: int) -> list[Image]:
    """Pictures of the demo's shapes, BGR."""
    pictures = (random_scene(seed, LONGER_SIDE, 360)[0] for seed in range(count))
    return [np.asarray(picture, np.uint8)[:, :, ::-1].copy() for picture in pictures]


def dequantised(quantised: Path, file: Path) -> Path:
    """Write to `file`, a .pt, the trained network of an ONNX file that ONNX Runtime has quantised
    after ultralytics has exported it; its numbers are those of the file, as floats."""
    import onnx
    import torch

    model = onnx.load(quantised)
    about = {entry.key: entry.value for entry in model.metadata_props}
    numbers = {
        one.name: onnx.numpy_helper.to_array(one).astype(np.float32)
        for one in model.graph.initializer
        if one.name.startswith("model.")
    }
    family = re.search(r"YOLO\w+", about["description"])
    assert family, f"{quantised} does not say which YOLO it is"
    made = import_ultralytics().YOLO(f"{family[0].lower()}.yaml", verbose=False)
    network = made.model.eval()
    modules = dict(network.named_modules())
    with torch.no_grad():
        for name, layer in modules.items():
            if not isinstance(layer, torch.nn.Conv2d) or f"{name}.bias" not in numbers:
                continue  # only one convolution has no bias, and that is no trained one
            weight = f"{name}.weight"
            steps = numbers[f"{weight}_quantized"] - numbers[f"{weight}_zero_point"]
            layer.weight.copy_(torch.from_numpy(steps * numbers[f"{weight}_scale"]))
            bias = torch.from_numpy(numbers[f"{name}.bias"])
            if layer.bias is not None:
                layer.bias.copy_(bias)
            else:  # the export has folded the normalisation in: make that one do nothing else
                norm = modules[name.removesuffix("conv") + "bn"]
                norm.running_mean.zero_()
                norm.running_var.fill_(1 - norm.eps)
                norm.weight.fill_(1)
                norm.bias.copy_(bias)
    network.names = ast.literal_eval(about["names"])
    made.save(file)
    return file


def agreement(
    weights: Path, runtimes: Sequence[str], frames: Sequence[Image], rounds: int
) -> tuple[list[Table], list[Target]]:
    """What each runtime finds in these frames against torch, and its processor time against
    torch's, in turns over some of them."""
    content = content_hash(weights)
    networks = {runtime: exported(weights, content, runtime, LONGER_SIDE) for runtime in runtimes}
    with ExitStack() as closing:
        detectors = {
            runtime: Detector(
                weights, exported=networks.get(runtime), image_size=LONGER_SIDE, device="cpu"
            )
            for runtime in ("torch", *runtimes)
        }
        for detector in detectors.values():
            closing.callback(detector.close)
        found = {runtime: one.detect(frames) for runtime, one in detectors.items()}
        some = frames[:: max(1, len(frames) // TIMED)][:TIMED]
        taken = take_turns(
            {runtime: timed(partial(one.detect, some)) for runtime, one in detectors.items()},
            rounds,
        )
    rows, targets, times = [], [], []
    for runtime in runtimes:
        figures = compared(found["torch"], found[runtime])
        rows.append(Row(runtime, {name: interval([value]) for name, value in figures.items()}))
        share = figures["found alike"] / max(1, figures["by torch"], figures["by it"])
        what = f"share of the detections that {runtime} and torch find alike"
        targets.append(Target(what, interval([share]), 1.0, at_least=True))
        ratio = ratios(taken[runtime], taken["torch"], "CPU s")
        times.append(Row(runtime, {"CPU s a frame over torch's, ratio": ratio}))
        targets.append(Target(f"CPU s a frame of {runtime} over torch's", ratio, 0.85))
    return [
        Table(f"Detections in {len(frames)} frames", rows),
        Table(f"Processor time, over {len(some)} of them", times),
    ], targets


def compared(
    as_torch: Sequence[Sequence[Detection]], found: Sequence[Sequence[Detection]]
) -> Mapping[str, float]:
    """How many detections both have, of one class, within PIXELS and CONFIDENCE; how far those are
    apart at most; and the number of frames whose written detections differ in any digit."""
    counts: Counter[str] = Counter()
    edges = confidences = 0.0
    for expected, others in zip(as_torch, found, strict=True):
        left = list(others)
        for one in expected:
            same = min(
                (other for other in left if alike(one, other)),
                key=lambda other: edge_gap(one, other),
                default=None,
            )
            if same is None:
                continue
            left.remove(same)
            counts["alike"] += 1
            edges = max(edges, edge_gap(one, same))
            confidences = max(confidences, abs(one.confidence - same.confidence))
        counts["rounded"] += [*map(_written, expected)] != [*map(_written, others)]
    return {
        "by torch": sum(map(len, as_torch)),
        "by it": sum(map(len, found)),
        "found alike": counts["alike"],
        "edges apart at most, pixels": edges,
        "confidences apart at most": confidences,
        "frames whose written detections differ": counts["rounded"],
    }


def alike(one: Detection, other: Detection) -> bool:
    """Whether two detections are the same, up to PIXELS and CONFIDENCE."""
    near = edge_gap(one, other) <= PIXELS
    return near and one.name == other.name and abs(one.confidence - other.confidence) <= CONFIDENCE


def edge_gap(one: Detection, other: Detection) -> float:
    """The largest distance between the same edges of two boxes, in pixels."""
    return max(abs(mine - its) for mine, its in zip(one.box, other.box, strict=True))


def _written(detection: Detection) -> tuple[Any, ...]:
    """As the stage writes it."""
    box = tuple(round(edge, 1) for edge in detection.box)
    return detection.name, round(detection.confidence, 4), box


def main() -> None:
    command = parser(__doc__, rounds=5)
    command.add_argument("--folder", type=Path, help="videos; without, frames are drawn")
    command.add_argument("--weights", type=Path, default=WEIGHTS, help="the demo's by default")
    arguments = parse(command)
    with tempfile.TemporaryDirectory(prefix="penstock-filter-agreement-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # for the exports
        weights: Path = arguments.weights
        if weights.suffix != ".pt":
            weights = dequantised(weights, Path(folder) / f"{weights.stem}.pt")
        if arguments.folder is not None:
            frames = real_frames(arguments.folder, 5.0 if arguments.quick else 1.0)
        else:
            frames = drawn_frames(20 if arguments.quick else 200)
        runtimes = [runtime for runtime in ("onnx", "openvino") if find_spec(runtime) is not None]
        tables, targets = agreement(weights, runtimes, frames, arguments.rounds)
    where = f"frames of {arguments.folder}" if arguments.folder else "made-up frames"
    result = Measurement(
        name="filter_agreement",
        title=f"What other runtimes find than torch, in {where}",
        tables=tables,
        targets=targets,
        rounds=arguments.rounds,
        quick=arguments.quick,
        notes=[f"{arguments.weights.name} at {LONGER_SIDE} pixels, on the CPU"],
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
