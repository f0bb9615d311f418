"""Trains the tiny detector that ships with Penstock on synthetic shapes, and prints its mAP50.

    python benchmarks/train_demo_weights.py            # writes stages/demo/shapes.pt
    python benchmarks/train_demo_weights.py --quick    # two epochs, to see that it runs

The network is YOLO11 at an eighth of its width with the P3 and P4 heads only. Pictures, their order
and the first weights follow from --seed; what comes out is the same on the same machine.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.demo.shapes import KINDS, WEIGHTS, random_scene
from stages.models.yolo import import_ultralytics

SIZE = 160
"""The side that pictures are reduced to for the network, in pixels."""

ARCHITECTURE = {
    "nc": len(KINDS),
    "depth_multiple": 0.5,
    "width_multiple": 0.125,
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 2, "C3k2", [256, False, 0.25]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 2, "C3k2", [512, False, 0.25]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 2, "C3k2", [512, True]],
        [-1, 1, "SPPF", [512, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 2, "C3k2", [256, False]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 7], 1, "Concat", [1]],
        [-1, 2, "C3k2", [512, False]],
        [[10, 13], 1, "Detect", ["nc"]],
    ],
}


def write_dataset(folder: Path, split: str, seeds: range) -> None:
    """Pictures of 320 pixels, square and 16:9 in turn, with labels in YOLO's text format."""
    (folder / "images" / split).mkdir(parents=True)
    (folder / "labels" / split).mkdir(parents=True)
    for seed in seeds:
        width, height = (320, 320) if seed % 2 else (320, 180)
        picture, shapes = random_scene(seed, width, height)
        # From hardly compressed to as blocky as a bad video.
        picture.save(folder / "images" / split / f"{seed:06}.jpg", quality=40 + seed % 6 * 10)
        lines = []
        for shape in shapes:
            x1, y1, x2, y2 = shape.box(width, height)
            centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            extent = (x2 - x1) / width, (y2 - y1) / height
            numbers = " ".join(f"{number:.6f}" for number in (*centre, *extent))
            lines.append(f"{KINDS.index(shape.kind)} {numbers}\n")
        (folder / "labels" / split / f"{seed:06}.txt").write_text("".join(lines))


def train(folder: Path, images: int, epochs: int, seed: int) -> Path:
    """Trains in `folder`; returns the checkpoint of the last epoch."""
    ultralytics = import_ultralytics()
    architecture = folder / "shapes.yaml"
    architecture.write_text(json.dumps(ARCHITECTURE))
    data = folder / "data.yaml"
    names = dict(enumerate(KINDS))
    held_out = 1_000_000 * (seed + 1)
    write_dataset(folder, "train", range(held_out + 1000, held_out + 1000 + images))
    write_dataset(folder, "val", range(held_out, held_out + 200))
    data.write_text(
        json.dumps(
            {"path": str(folder), "train": "images/train", "val": "images/val", "names": names}
        )
    )
    model = ultralytics.YOLO(str(architecture), task="detect")
    model.train(
        data=str(data),
        epochs=epochs,
        imgsz=SIZE,
        batch=16,
        optimizer="AdamW",
        lr0=0.004,
        warmup_epochs=1.0,
        cos_lr=True,
        mosaic=0.0,
        scale=0.25,
        seed=seed,
        deterministic=True,
        pretrained=False,
        amp=False,
        cache="disk",
        workers=0,
        device="cpu",
        plots=False,
        val=False,
        project=str(folder),
        name="run",
        verbose=False,
    )
    return folder / "run" / "weights" / "last.pt"


def ship(checkpoint: Path, weights: Path) -> None:
    """Keeps of a checkpoint the network alone, in half precision, with nothing of this machine."""
    import torch
    import ultralytics

    trained = torch.load(checkpoint, weights_only=False, map_location="cpu")
    network = (trained.get("ema") or trained["model"]).half().eval()
    network.args = {}
    network.criterion = None
    network.yaml = {key: value for key, value in network.yaml.items() if key in ARCHITECTURE}
    for parameter in network.parameters():
        parameter.requires_grad = False
    kept: dict[str, Any] = {
        "model": network,
        "train_args": {"imgsz": SIZE, "task": "detect"},
        "version": ultralytics.__version__,
        "license": "AGPL-3.0-or-later",
    }
    torch.save(kept, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the file to write")
    parser.add_argument("--images", type=int, default=1200, help="training pictures")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 pictures, two epochs")
    arguments = parser.parse_args()
    images, epochs = (100, 2) if arguments.quick else (arguments.images, arguments.epochs)

    folder = Path(tempfile.mkdtemp(prefix="penstock-shapes-"))
    try:
        start = time.monotonic()
        checkpoint = train(folder, images, epochs, arguments.seed)
        seconds = time.monotonic() - start
        ship(checkpoint, arguments.out)
        model = import_ultralytics().YOLO(str(arguments.out))
        scores = model.val(
            data=str(folder / "data.yaml"),
            imgsz=SIZE,
            device="cpu",
            plots=False,
            workers=0,
            verbose=False,
            project=str(folder),
            name="val",
        )
    finally:
        shutil.rmtree(folder)
    parameters = sum(parameter.numel() for parameter in model.model.parameters())
    print(
        f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB, "
        f"{parameters / 1000:.0f}k parameters, trained in {seconds:.0f} s; "
        f"200 held-out pictures: mAP50 {scores.box.map50:.4f}, mAP50-95 {scores.box.map:.4f}"
    )


if __name__ == "__main__":
    main()
