"""COCO's format: annotations/instances_<split>.json, captions_<split>.json, and images/.

https://cocodataset.org/#format-data: boxes are [left, top, width, height] in pixels, categories
are numbered from 1. `score` is the detector's confidence, as in COCO's results, and
`segmentation` the box.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.crawl.exports.reader import Dataset, DatasetFrame, Split

UNSTATED = "not stated"


def write(dataset: Dataset, out: Path) -> None:
    """Write the dataset in COCO's format; file names are relative to images/."""
    (out / "images").mkdir()
    (out / "annotations").mkdir()
    for split in dataset.splits:
        for frame in dataset.frames(split):
            image = out / "images" / _file_name(frame)
            image.parent.mkdir(exist_ok=True)
            shutil.copyfile(frame.path, image)
        about: dict[str, Any] = {"description": f"Frames gathered by Penstock, {split} split"}
        instances = {
            "licenses": _licences(dataset),
            "categories": _categories(dataset),
            "images": _images(dataset, split),
            "annotations": _instances(dataset, split),
        }
        captions = {
            "licenses": _licences(dataset),
            "images": _images(dataset, split),
            "annotations": _captions(dataset, split),
        }
        _write_json(out / "annotations" / f"instances_{split}.json", about, instances)
        _write_json(out / "annotations" / f"captions_{split}.json", about, captions)


def _file_name(frame: DatasetFrame) -> str:
    return f"{frame.video}/{frame.name}"


def _licence_numbers(dataset: Dataset) -> dict[str, int]:
    names = sorted({licence or UNSTATED for licence in dataset.licences.values()})
    return {name: number for number, name in enumerate(names, 1)}


def _licences(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for name, number in _licence_numbers(dataset).items():
        yield {"id": number, "name": name, "url": ""}


def _categories(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for number, name in enumerate(dataset.classes, 1):
        yield {"id": number, "name": name, "supercategory": ""}


def _images(dataset: Dataset, split: Split) -> Iterator[dict[str, Any]]:
    licences = _licence_numbers(dataset)
    for number, frame in enumerate(dataset.frames(split), 1):
        yield {
            "id": number,
            "file_name": _file_name(frame),
            "width": frame.width,
            "height": frame.height,
            "license": licences[frame.licence or UNSTATED],
            "video_id": frame.video,
            "timestamp": frame.timestamp,
            "source": frame.source,
        }


def _instances(dataset: Dataset, split: Split) -> Iterator[dict[str, Any]]:
    categories = {name: number for number, name in enumerate(dataset.classes, 1)}
    annotation = 0
    for number, frame in enumerate(dataset.frames(split), 1):
        for box in frame.boxes:
            annotation += 1
            left, top, width, height = (
                round(edge, 1) for edge in (box.left, box.top, box.width, box.height)
            )
            yield {
                "id": annotation,
                "image_id": number,
                "category_id": categories[box.name],
                "bbox": [left, top, width, height],
                "segmentation": [_outline(left, top, width, height)],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "score": box.confidence,
            }


def _outline(left: float, top: float, width: float, height: float) -> list[float]:
    """The box as a polygon: a tool that reads the masks of all annotations
    gets the box, not an error."""
    right, bottom = round(left + width, 1), round(top + height, 1)
    return [left, top, right, top, right, bottom, left, bottom]


def _captions(dataset: Dataset, split: Split) -> Iterator[dict[str, Any]]:
    caption = 0
    for number, frame in enumerate(dataset.frames(split), 1):
        if frame.description is not None:
            caption += 1
            yield {"id": caption, "image_id": number, "caption": frame.description}


def _write_json(
    path: Path, info: dict[str, Any], lists: dict[str, Iterator[dict[str, Any]]]
) -> None:
    """Write one object of lists, an entry a line, without ever holding a list."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps(info)}')
        for name, entries in lists.items():
            file.write(f',\n"{name}": [')
            for at, entry in enumerate(entries):
                file.write(f"{',' if at else ''}\n{json.dumps(entry, ensure_ascii=False)}")
            file.write("\n]")
        file.write("}\n")
