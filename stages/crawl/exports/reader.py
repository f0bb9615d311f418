"""A finished dataset for an export: frames one by one, in order, with their split."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from engine import UsageError, shown
from stages.crawl.dataset.class_numbers import numbered, read_classes
from stages.crawl.dataset.tables import frame_of, opened, read_table

Split = Literal["train", "validation"]

ROWS_A_BATCH = 1024


@dataclass(frozen=True, slots=True)
class ObjectBox:
    """A detected object; corners in pixels, inside the frame."""

    name: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class DatasetFrame:
    """One row of frames.parquet. `path` is its image, `name` the image's file name."""

    path: Path
    name: str
    video: str
    timestamp: float
    width: int
    height: int
    boxes: tuple[ObjectBox, ...]
    description: str | None
    described_by: str | None
    source: str
    licence: str | None


class Dataset:
    """A dataset's folder and its split: `validation` is the share of videos held out.

    Raises UsageError where `folder` holds no dataset, or one without frames.
    """

    def __init__(self, folder: Path, validation: float) -> None:
        self.folder = folder
        self.validation = validation
        if not (folder / "frames.parquet").is_file():
            raise UsageError(
                f"{folder.parent} holds no dataset; run a crawl with that work folder to its end "
                f"first"
            )
        frames = Counter(row["video_id"] for row in self._rows(["video_id"]))
        self._held_out = held_out(frames, validation)
        self.counts: Counter[Split] = Counter()
        for video, count in frames.items():
            self.counts[self.split_of(video)] += count
        if not self.counts:
            raise UsageError(
                f"the dataset in {folder} has no frames, so there is nothing to export"
            )

    def split_of(self, video: str) -> Split:
        return "validation" if video in self._held_out else "train"

    @property
    def splits(self) -> tuple[Split, ...]:
        """The non-empty splits; "train" always."""
        return ("train", "validation") if self.counts["validation"] else ("train",)

    def summary(self) -> str:
        """ "40 train and 7 validation frames"."""
        counts = " and ".join(f"{self.counts[split]:,} {split}" for split in self.splits)
        return f"{counts} {'frame' if self.counts.total() == 1 else 'frames'}"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their numbers, which stay stable as the dataset
        grows.

        In alphabetical order where an earlier version built the dataset without recording them.
        """
        return tuple(numbered(read_classes(self.folder), (), self._detected))

    @property
    def has_boxes(self) -> bool:
        return bool(self._detected)

    @cached_property
    def _detected(self) -> frozenset[str]:
        rows = self._rows(["detections"])
        return frozenset(found["class"] for row in rows for found in row["detections"])

    @cached_property
    def licences(self) -> dict[str, str | None]:
        """The licence of each video, by id, as its site states it."""
        table = read_table(self.folder / "videos.parquet", columns=["id", "license"])
        columns = table.to_pydict()
        return dict(zip(columns["id"], columns["license"], strict=True))

    def frames(self, split: Split) -> Iterator[DatasetFrame]:
        """The frames of a split, by video and time."""
        for row in self._rows():
            if self.split_of(row["video_id"]) == split:
                yield self._frame(row)

    def _frame(self, row: dict[str, Any]) -> DatasetFrame:
        path = frame_of(self.folder, row)
        boxes = (_clip(found, row["width"], row["height"]) for found in row["detections"])
        return DatasetFrame(
            path=path,
            name=path.name,
            video=row["video_id"],
            timestamp=row["timestamp"],
            width=row["width"],
            height=row["height"],
            boxes=tuple(box for box in boxes if box.width > 0 and box.height > 0),
            description=row["description"],
            described_by=row["described_by"],
            source=shown(row["source"]),  # an earlier version may have built it
            licence=self.licences.get(row["video_id"]),
        )

    def _rows(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        with opened(self.folder / "frames.parquet") as table:
            for batch in table.iter_batches(ROWS_A_BATCH, columns=columns):
                yield from batch.to_pylist()


def held_out(videos: Iterable[str], share: float) -> frozenset[str]:
    """The videos to be held out for validation: about that share of them.

    A video's id alone decides, so no video changes sides as others are added. Only if one side
    would be empty, as with few videos, it gets the video nearest to the limit; a single video is
    not held out.
    """

    def place(video: str) -> float:
        digest = hashlib.sha256(video.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    places = {video: place(video) for video in videos}
    in_order = sorted(places, key=places.__getitem__)
    count = sum(place < share for place in places.values())
    if share:
        count = min(max(count, 1), len(in_order) - 1)
    return frozenset(in_order[:count])


def _clip(found: dict[str, Any], width: int, height: int) -> ObjectBox:
    left, top, right, bottom = found["box"]
    return ObjectBox(
        name=found["class"],
        confidence=found["confidence"],
        left=min(max(left, 0), width),
        top=min(max(top, 0), height),
        right=min(max(right, 0), width),
        bottom=min(max(bottom, 0), height),
    )
