"""WebDataset: tar files of samples, each an image and its JSON under one key.

<split>-000000.tar holds <key>.jpg and <key>.json, a thousand samples a file.
https://github.com/webdataset/webdataset
"""

import json
import tarfile
from collections.abc import Iterable
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

from stages.crawl.exports.reader import Dataset, DatasetFrame

SAMPLES_A_SHARD = 1000


def write(dataset: Dataset, out: Path) -> None:
    """Write the dataset as tar files; the same dataset gives the same bytes."""
    for split in dataset.splits:
        frames = dataset.frames(split)
        for number, first in enumerate(frames):
            shard = chain([first], islice(frames, SAMPLES_A_SHARD - 1))
            _write_shard(out / f"{split}-{number:06d}.tar", shard)


def _write_shard(path: Path, frames: Iterable[DatasetFrame]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for frame in frames:
            # A key ends at its first dot.
            key = f"{frame.video}/{Path(frame.name).stem}".replace(".", "_")
            _add(tar, f"{key}.jpg", frame.path.read_bytes())
            _add(tar, f"{key}.json", json.dumps(_sample(frame), ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # TarInfo's own defaults: no time, no owner.
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, BytesIO(content))


def _sample(frame: DatasetFrame) -> dict[str, Any]:
    return {
        "video_id": frame.video,
        "file": frame.name,
        "timestamp": frame.timestamp,
        "width": frame.width,
        "height": frame.height,
        "detections": [
            {
                "class": box.name,
                "confidence": box.confidence,
                "box": [box.left, box.top, box.right, box.bottom],
            }
            for box in frame.boxes
        ],
        "description": frame.description,
        "described_by": frame.described_by,
        "source": frame.source,
        "license": frame.licence,
    }
