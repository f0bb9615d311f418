"""A dataset that Hugging Face's `datasets` loads: Parquet files with the images inside.

data/<split>-00000.parquet, with the features in the schema as `datasets` writes them, and a
README.md that names the splits. Boxes are [left, top, width, height] in pixels, as in COCO.
https://huggingface.co/docs/hub/datasets-image
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.crawl.dataset.card import digest, front_matter
from stages.crawl.dataset.tables import TableWriter
from stages.crawl.exports.reader import Dataset, DatasetFrame

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 100
BYTES_A_SHARD = 500_000_000

PLAIN_COLUMNS = {
    "video_id": "string",
    "timestamp": "float64",
    "width": "int32",
    "height": "int32",
    "description": "string",
    "described_by": "string",
    "source": "string",
    "license": "string",
}


def write(dataset: Dataset, out: Path) -> None:
    """Write the dataset as Parquet files of about 500 MB, and the README.md that names them."""
    (out / "data").mkdir()
    schema = _schema(dataset.classes)
    for split in dataset.splits:
        frames = dataset.frames(split)
        number = 0
        full = True
        while full:
            path = out / "data" / f"{split}-{number:05d}.parquet"
            with TableWriter(path, schema, ROWS_A_GROUP) as shard:
                full = _fill(shard, frames, dataset.classes)
            number += 1
    (out / "README.md").write_text(_readme(dataset), encoding="utf-8")


def _fill(shard: TableWriter, frames: Iterator[DatasetFrame], classes: tuple[str, ...]) -> bool:
    """Write frames until the shard is full; False when there are no more."""
    numbers = {name: number for number, name in enumerate(classes)}
    size = 0
    for frame in frames:
        image = frame.path.read_bytes()
        shard.add(_row(frame, image, numbers))
        size += len(image)
        if size >= BYTES_A_SHARD:
            return True
    return False


def _row(frame: DatasetFrame, image: bytes, numbers: dict[str, int]) -> dict[str, Any]:
    return {
        "image": {"bytes": image, "path": f"{frame.video}_{frame.name}"},
        "video_id": frame.video,
        "timestamp": frame.timestamp,
        "width": frame.width,
        "height": frame.height,
        "objects": {
            "bbox": [[box.left, box.top, box.width, box.height] for box in frame.boxes],
            "category": [numbers[box.name] for box in frame.boxes],
            "confidence": [box.confidence for box in frame.boxes],
        },
        "description": frame.description,
        "described_by": frame.described_by,
        "source": frame.source,
        "license": frame.licence,
    }


def _schema(classes: tuple[str, ...]) -> "pa.Schema":
    """The columns, with the features of `datasets` in the schema's metadata."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    objects = pa.struct(
        [
            ("bbox", pa.list_(pa.list_(pa.float32(), 4))),
            ("category", pa.list_(pa.int64())),
            ("confidence", pa.list_(pa.float32())),
        ]
    )
    plain = [(name, pa.type_for_alias(kind)) for name, kind in PLAIN_COLUMNS.items()]
    info = {"info": {"features": _features(classes)}}
    return pa.schema(
        [("image", image), ("objects", objects), *plain],
        metadata={"huggingface": json.dumps(info)},
    )


def _features(classes: tuple[str, ...]) -> dict[str, Any]:
    """The columns in the stored form of `datasets.Features`; all its versions read "Sequence"."""

    def sequence(feature: dict[str, Any], **length: int) -> dict[str, Any]:
        return {"feature": feature, "_type": "Sequence", **length}

    number = {"dtype": "float32", "_type": "Value"}
    return {
        "image": {"_type": "Image"},
        "objects": {
            "bbox": sequence(sequence(number, length=4)),
            "category": sequence({"names": list(classes), "_type": "ClassLabel"}),
            "confidence": sequence(number),
        },
        **{name: {"dtype": kind, "_type": "Value"} for name, kind in PLAIN_COLUMNS.items()},
    }


def _readme(dataset: Dataset) -> str:
    files = [f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in dataset.splits]
    holds = f"{dataset.summary()}, {digest(dataset.folder / 'frames.parquet')}"
    config = f"""\
- config_name: default
  description: {json.dumps(holds)}
  data_files:
{"".join(files)}"""
    return f"""\
{front_matter([config])}# Frames gathered by Penstock

`datasets.load_dataset(folder)` loads them. Each row is a frame: `image`, the detected `objects`
(`bbox` is left, top, width and height in pixels), its `description`, and where it comes from:
`video_id`, `timestamp` in seconds, `source` and the video's `license` as its site states it. The
rights in a frame are those of its video: check them before you pass the frames on.
"""
