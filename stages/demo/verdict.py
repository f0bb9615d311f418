"""Compares the result of the crawl with the planted content.

The result is read from the dataset's tables, the planted content follows from the script alone.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.demo.script import PLANTED, Box, DemoVideo, Planted, Sight

Row = Mapping[str, Any]

LEAST_OVERLAP = 0.5
"""The least intersection over union with which a detection of the right class has found a shape."""

LEAST_SHARE = 0.95
"""Recall and precision that the shipped detector has to reach."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One planted thing, its expected result, and its real one."""

    name: str
    what: str
    planted: str
    found: str
    as_planted: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """Checks of one kind."""

    title: str
    checks: Sequence[Expectation]


def judge(dataset: Path, root: str) -> list[Findings]:
    """All checks of a finished demo whose addresses begin with `root`."""
    found = DemoDataset(dataset, root)
    return [
        Findings("Addresses", list(_endings(found))),
        Findings("Near-duplicates", list(_duplicates(found))),
        Findings("Detections", list(_shapes(found))),
    ]


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame of the dataset: its row, its video, and the sight that it
    really shows, if a wanted one."""

    row: Row
    video: DemoVideo
    sight: Sight | None


class DemoDataset:
    """A dataset's tables, joined with the planted content."""

    def __init__(self, dataset: Path, root: str) -> None:
        self.videos = {row["source"].removeprefix(root): row for row in _read(dataset, "videos")}
        self._videos = {
            self.videos[planted.path]["id"]: planted.video
            for planted in PLANTED
            if planted.video is not None and planted.path in self.videos
        }
        self.kept = [
            Kept(row, self._videos[row["video_id"]], self._sight(row["video_id"], row["timestamp"]))
            for row in _read(dataset, "frames")
            if row["video_id"] in self._videos
        ]
        self.removed = [
            (
                self._sight(row["video_id"], _seconds(row["file"])),
                self._sight(row["kept_video_id"], _seconds(row["kept_file"])),
            )
            for row in _read(dataset, "duplicates")
        ]
        """For each removed frame, its sight and that of the frame that represents it."""

    def _sight(self, video: str, seconds: float) -> Sight | None:
        return self._videos[video].sight(seconds) if video in self._videos else None


def _endings(found: DemoDataset) -> Iterator[Expectation]:
    """Whether each address ended as expected, and whether there are unplanted ones."""
    for planted in PLANTED:
        row = found.videos.get(planted.path)
        ending = "never crawled" if row is None else _ending(row)
        if row is not None and row["outcome"] != planted.outcome:
            ending = f"{row['outcome']}: {ending}"
        expected = _expected_ending(planted)
        yield Expectation(planted.path[1:], planted.what, expected, ending, ending == expected)
    strays = found.videos.keys() - {planted.path for planted in PLANTED}
    yield Expectation("anything else", "", "none", ", ".join(sorted(strays)) or "none", not strays)


def _expected_ending(planted: Planted) -> str:
    if planted.outcome != "done":
        return str(planted.kind)
    if planted.video is None:
        return f"{planted.videos} videos"
    return f"{len(planted.video.sampled)} of {planted.video.clip.seconds} frames"


def _ending(row: Row) -> str:
    if row["outcome"] != "done":
        return str(row["kind"] or row["outcome"])
    if row["expanded"] is not None:
        return f"{row['expanded']} videos"
    return f"{row['frames_filtered']} of {row['frames_sampled']} frames"


def _duplicates(found: DemoDataset) -> Iterator[Expectation]:
    """Whether one frame of every sight stayed, the largest, and no other was removed."""
    videos = [planted.video for planted in PLANTED if planted.video is not None]
    frames = Counter(shown for video in videos for _, shown in video.sampled)
    repeated = sorted({shown.clip for shown, count in frames.items() if count > 1})
    for clip in repeated:
        copies = sum(video.clip.name == clip for video in videos)
        what = f"{copies} videos of the same" if copies > 1 else "stands still"
        yield _one_of_each(found, frames, [clip], clip, what)
    single = {shown.clip for shown in frames}.difference(repeated)
    yield _one_of_each(found, frames, single, "all others", f"{len(single)} videos, none alike")


def _one_of_each(
    found: DemoDataset, frames: Counter[Sight], clips: Collection[str], name: str, what: str
) -> Expectation:
    planted = {shown: count for shown, count in frames.items() if shown.clip in clips}
    kept = [frame for frame in found.kept if frame.sight in planted]
    removed = [pair for pair in found.removed if pair[0] in planted]
    problems = {
        "lost": len(planted.keys() - {frame.sight for frame in kept}),
        "not the largest": sum(_pixels(frame) < _most_pixels(frame.video) for frame in kept),
        "taken for another": sum(shown != stand_in for shown, stand_in in removed),
    }
    expected = f"{len(planted)} of {sum(planted.values())} stay"
    text = f"{len(kept)} of {len(kept) + len(removed)} stay"
    said = [text, *(f"{count} {problem}" for problem, count in problems.items() if count)]
    return Expectation(name, what, expected, ", ".join(said), said == [expected])


def _shapes(found: DemoDataset) -> Iterator[Expectation]:
    """Recall and precision of the detections; a shape in a lost frame counts as missed."""
    right = detected = 0
    there = sum(_lost_shapes(found))
    for frame in found.kept:
        row = frame.row
        truth = []
        if frame.sight is not None:
            truth = frame.video.boxes(row["timestamp"], row["width"], row["height"])
        there += len(truth)
        detected += len(row["detections"])
        right += matches(row["detections"], truth)
    expected = f"{LEAST_SHARE:.0%} or more"
    for name, what, total in (
        ("recall", f"shapes at IoU {LEAST_OVERLAP}", there),
        ("precision", f"boxes at IoU {LEAST_OVERLAP}", detected),
    ):
        share = right / total if total else 0.0
        text = f"{share:.1%} of {total}"
        yield Expectation(name, what, expected, text, share >= LEAST_SHARE)


def _lost_shapes(found: DemoDataset) -> Iterator[int]:
    """The number of shapes in each sampled frame whose sight has no frame left."""
    seen = {frame.sight for frame in found.kept}
    for planted in PLANTED:
        video = planted.video
        if video is not None and video.of is None:
            for second, shown in video.sampled:
                if shown not in seen:
                    yield len(video.boxes(second, 1, 1))


def matches(detections: Sequence[Row], truth: Sequence[tuple[str, Box]]) -> int:
    """The number of detections that found a shape: each shape once, the
    most confident detection first."""
    left = list(truth)
    for detection in sorted(detections, key=lambda one: -one["confidence"]):
        near = [
            (overlap(detection["box"], box), at)
            for at, (kind, box) in enumerate(left)
            if kind == detection["class"]
        ]
        best, at = max(near, default=(0.0, 0))
        if best >= LEAST_OVERLAP:
            del left[at]
    return len(truth) - len(left)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _pixels(frame: Kept) -> int:
    return int(frame.row["width"]) * int(frame.row["height"])


def _most_pixels(video: DemoVideo) -> int:
    return video.clip.width * video.clip.height


def _seconds(file: str) -> float:
    """The second of the frame of this name; names are seconds, then perhaps "-1"."""
    return float(Path(file).stem.partition("-")[0])


def _read(dataset: Path, table: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(dataset / f"{table}.parquet").to_pylist()
    return rows
