"""What the benchmark of the filter works on: synthetic frames, and a YOLO11n made here."""

import json
from pathlib import Path

from stages.demo.shapes import random_scene
from stages.models.detector import Detector
from stages.models.yolo import import_ultralytics

WIDTH, HEIGHT = 640, 360
NETWORK_SHAPE = (640, 384)

SAMPLE = 64
"""Frames of all by which the threshold of the network is chosen."""


def write_frames(folder: Path, count: int) -> None:
    """What the extract stage leaves: `count` JPEGs of synthetic scenes, and their list."""
    (folder / "frames").mkdir()
    with (folder / "frames.jsonl").open("w") as lines:
        for second in range(count):
            name = f"{second:010.3f}.jpg"
            random_scene(second, WIDTH, HEIGHT)[0].save(folder / "frames" / name, quality=90)
            line = {"file": name, "timestamp": float(second), "width": WIDTH, "height": HEIGHT}
            lines.write(json.dumps({**line, "keyframe": True}) + "\n")


def random_network(file: Path, frames: Path) -> None:
    """YOLO11n with random weights, normalised on these frames so that what it sees matters to it.

    As they are drawn, the weights let the signal fade to nothing and every place looks alike.
    """
    import cv2
    import torch

    torch.manual_seed(0)
    made = import_ultralytics().YOLO("yolo11n.yaml", verbose=False)
    images = [cv2.imread(str(path)) for path in sorted(frames.iterdir())[:8]]
    planes = [torch.from_numpy(cv2.resize(image, NETWORK_SHAPE)) for image in images]
    batch = torch.stack(planes).permute(0, 3, 1, 2).flip(1).float() / 255
    for module in made.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        made.model.train()(batch)
    made.model.eval()
    made.save(file)


def usual_confidence(weights: Path, frames: Path) -> float:
    """The threshold over which the network has ten boxes a frame to consider, over all frames: in a
    few it sees hundreds."""
    import cv2
    import torch

    paths = sorted(frames.iterdir())
    some = paths[:: max(1, len(paths) // SAMPLE)]
    detector = Detector(weights, device="cpu")
    surest = []
    for path in some:
        pixels = detector.prepare(cv2.imread(str(path))).pixels
        with torch.inference_mode():
            output = detector.model(pixels.unsqueeze(0))
        output = output[0] if isinstance(output, list | tuple) else output
        surest.append(output[:, 4:].amax(1).flatten())
    detector.close()
    return float(torch.cat(surest).sort(descending=True).values[10 * len(some)])
