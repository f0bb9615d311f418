"""YOLO's detection format, as Ultralytics trains on it.

data.yaml, images/<split>/<video id>_<frame>.jpg, and labels/<split>/<video id>_<frame>.txt with a
line `class x y width height` for each box: its centre and size as shares of the image's.
https://docs.ultralytics.com/datasets/detect/
"""

import json
import shutil
from pathlib import Path

from engine import UsageError
from stages.crawl.exports.reader import Dataset, DatasetFrame


def write(dataset: Dataset, out: Path) -> None:
    """Write the dataset in YOLO's format. Raises UsageError where nothing was detected at all."""
    if not dataset.has_boxes:
        raise UsageError(
            "the dataset has no detections, and YOLO's format needs classes; "
            "export it as huggingface or webdataset"
        )
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    for split in dataset.splits:
        images, labels = out / "images" / split, out / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for frame in dataset.frames(split):
            # Ultralytics finds labels by replacing the last "images" of a path: so no subfolders.
            image = images / f"{frame.video}_{frame.name}"
            shutil.copyfile(frame.path, image)
            lines = _label_lines(frame, numbers)
            (labels / image.name).with_suffix(".txt").write_text("".join(lines))
    (out / "data.yaml").write_text(_data_yaml(dataset), encoding="utf-8")


def _label_lines(frame: DatasetFrame, numbers: dict[str, int]) -> list[str]:
    """One line a box; boxes that differ only in confidence make one."""
    lines = [
        f"{numbers[box.name]} "
        f"{(box.left + box.right) / 2 / frame.width:.6f} "
        f"{(box.top + box.bottom) / 2 / frame.height:.6f} "
        f"{box.width / frame.width:.6f} {box.height / frame.height:.6f}\n"
        for box in frame.boxes
    ]
    return list(dict.fromkeys(lines))


def _data_yaml(dataset: Dataset) -> str:
    held_out = "validation" in dataset.splits
    lines = [
        "# Paths are relative to this file.",
        "train: images/train",
        # Ultralytics insists on a validation set.
        "val: images/validation" if held_out else "val: images/train  # no video is held out",
        "names:",
        *(f"  {number}: {json.dumps(name)}" for number, name in enumerate(dataset.classes)),
    ]
    return "\n".join(lines) + "\n"
