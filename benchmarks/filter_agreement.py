"""Whether other runtimes find in real frames what torch finds: each detection, counted."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.results import Row, Table, Target
from engine.bench.intervals import interval
from stages.models.content import content_hash
from stages.models.detector import Detection, Detector
from stages.models.exports import exported
from stages.models.yolo import import_ultralytics

PIXELS, CONFIDENCE = 1.0, 0.01
"""What counts as the same: no edge of the box further away, and no confidence."""

LONGER_SIDE = 640
"""Of the frames, in pixels, which is what extract keeps by default."""

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
    weights: Path, runtimes: Sequence[str], frames: Sequence[Image], image_size: int
) -> tuple[Table, list[Target]]:
    """What each runtime finds in these frames against torch, at the stage's default thresholds."""
    options: dict[str, Any] = {"image_size": image_size, "device": "cpu"}
    as_torch = _found(Detector(weights, **options), frames)
    content = content_hash(weights)
    rows, targets = [], []
    for runtime in runtimes:
        network = exported(weights, content, runtime, image_size)
        found = _found(Detector(weights, exported=network, **options), frames)
        figures = compared(as_torch, found)
        one = {name: interval([value]) for name, value in figures.items()}
        rows.append(Row(f"{runtime} over {len(frames)} frames", one))
        share = figures["found alike"] / max(1, figures["by torch"])
        what = f"share of torch's detections that {runtime} finds alike in real frames"
        targets.append(Target(what, interval([share]), 1.0, at_least=True))
    return Table("Detections in real frames", rows), targets


def _found(detector: Detector, frames: Sequence[Image]) -> list[list[Detection]]:
    found = detector.detect(frames)
    detector.close()
    return found


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
