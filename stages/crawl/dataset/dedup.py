"""Hashes a video's frames and gathers all data that the dataset needs of the video."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import engine
from engine import Item, ItemRecord, Permanent, Stage, checkpoint, setting
from stages.files.folders import INFO, link_or_copy
from stages.files.json_lines import read_lines, write_lines
from stages.media.cores import PROCESS_CORES, Cores, share_out
from stages.media.pictures.frame_quality import Looks, look
from stages.neardup import duplicates as neardup
from stages.neardup.hashing import perceptual_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FACTS = ("title", "uploader", "duration", "upload_date", "webpage_url", "license")
"""The facts about a video in the dataset, by their names in info.json."""


class Dedup(Stage):
    """Hash the kept frames and mark those that nearly repeat another of the same video.

    Of `frames` it reads frames/, detections.jsonl, filter.json and info.json, as filter writes
    them; of `descriptions`, where there are any, descriptions.jsonl and requests.json, as describe
    does. Both may have been made of the video's parts, which it then gathers.

    Its output alone is what the dataset is built from, so every stage before it may have
    keep = false: frames/ (hard links), hashes.jsonl, frames.jsonl and video.json.
    """

    # The ranking of copies has changed since the first version, but the finish chooses among
    # all frames anew, and examines those of old outputs itself: nothing has to be redone.
    version: ClassVar[int] = 1
    inputs = "frames"
    optional_inputs = "descriptions"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    cores: ClassVar[Cores] = PROCESS_CORES
    """Counts threads that examine frames, and idle cores: the last video's end is waited for."""

    class Settings(engine.Settings):
        distance: int = setting(
            8,
            "Bits of 64 by which two frames' perceptual hashes may differ and still be duplicates.",
            ge=0,
            le=16,
        )

    settings: "Dedup.Settings"

    def process(self, item: Item, out: Path) -> None:
        """Write frames/, hashes.jsonl, frames.jsonl and video.json; see the class.

        Raises Permanent, kind "unreadable_frame", for a frame that is not an image.
        """
        found = [
            (frame, source / "frames" / frame["file"])
            for source in _inputs(item, "frames")
            for frame in read_lines(source / "detections.jsonl")
        ]
        found.sort(key=lambda one: one[0]["file"])
        frames = [frame for frame, _ in found]
        descriptions = _descriptions(item)

        (out / "frames").mkdir()
        with self.cores.held():
            lines = share_out(found, lambda: _taking_over(out / "frames"), self.cores)
        choice = neardup.choose(columns_of(lines, 0), self.settings.distance)
        for at, line in enumerate(lines):
            if not choice.kept[at]:
                line["duplicate_of"] = lines[int(choice.nearest[at])]["file"]
                line["distance"] = int(choice.distance[at])

        write_lines(out / "hashes.jsonl", lines)
        write_lines(
            out / "frames.jsonl",
            [_frame_line(frame, descriptions.get(frame["file"], {})) for frame in frames],
        )
        write_lines(out / "video.json", [_video(item)])


@contextmanager
def _taking_over(
    folder: Path,
) -> Iterator[Callable[[tuple[Mapping[str, Any], Path]], dict[str, Any]]]:
    """Gives the function that puts a frame, a line of detections.jsonl and the image's path, into
    `folder`, and returns its line of hashes.jsonl."""

    def take_over(found: tuple[Mapping[str, Any], Path]) -> dict[str, Any]:
        checkpoint()
        frame, source = found
        path = folder / frame["file"]
        link_or_copy(source, path)
        return _hash_line(frame, _hash(path), looks_of(path))

    yield take_over


def _hash(path: Path) -> int:
    try:
        return perceptual_hash(path)
    except OSError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> Permanent:
    return Permanent(
        f"frame {path.name} is not a readable image; "
        f"delete the item's folder to have it made again",
        kind="unreadable_frame",
    )


def looks_of(path: Path) -> Looks:
    """The looks of the image at `path`, its quality as a copy.

    Raises Permanent, kind "unreadable_frame", for a file that is no image.
    """
    import cv2
    import numpy as np

    content = np.fromfile(path, np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise _unreadable(path)
    return look(np.asarray(image, np.uint8))


def columns_of(lines: Sequence[Mapping[str, Any]], video: int) -> neardup.Frames:
    """The lines of hashes.jsonl as frames to choose among; `video` is the number of their video."""
    import numpy as np

    def integers(name: str) -> "NDArray[np.int64]":
        return np.array([line[name] for line in lines], np.int64)

    return neardup.Frames(
        hashes=np.array([int(line["hash"], 16) for line in lines], np.uint64),
        pixels=integers("pixels"),
        colour=integers("colour"),
        clarity=integers("clarity"),
        painted=integers("painted"),
        timestamps=np.array([line["timestamp"] for line in lines], np.float64),
        videos=np.full(len(lines), video, np.int64),
        files=np.arange(len(lines), dtype=np.int64),
    )


def _hash_line(frame: Mapping[str, Any], value: int, looks: Looks) -> dict[str, Any]:
    return {
        "file": frame["file"],
        "timestamp": frame["timestamp"],
        "hash": format(value, "016x"),
        "pixels": int(frame["width"]) * int(frame["height"]),
        **asdict(looks),
        "sharpness": frame["sharpness"],
        "duplicate_of": None,
        "distance": None,
    }


def _frame_line(frame: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: frame[key] for key in ("file", "timestamp", "width", "height", "detections")},
        "description": description.get("description"),
        "described_by": description.get("by"),
        "reused_from": description.get("reused_from"),
    }


def _inputs(item: Item, role: str) -> list[Path]:
    """The input folders of the role: the item's own, or that of each part, in order; none where it
    is optional and is not there."""
    if item.has_input(role):
        return [item.input(role)]
    return [part.input(role) for part in item.parts(role)]


def _descriptions(item: Item) -> dict[str, dict[str, Any]]:
    """The descriptions by file; none where describe is optional and failed."""
    files = (folder / "descriptions.jsonl" for folder in _inputs(item, "descriptions"))
    return {line["file"]: line for file in files for line in read_lines(file)}


def _video(item: Item) -> dict[str, Any]:
    """The facts about the video for the dataset; null for unknown ones."""
    info = next(iter(_known(item, "frames", INFO)), {})
    counts = _known(item, "frames", "filter.json")
    classes = next(iter(counts), {})
    return {
        **{key: info.get(key) for key in FACTS},
        "frames_sampled": _sum(counts, "frames_in"),
        "frames_filtered": _sum(counts, "frames_kept"),
        "classes": classes.get("classes") or classes.get("names"),
        "requests": _requests(_known(item, "descriptions", "requests.json")),
    }


def _requests(counts: Sequence[Mapping[str, int]]) -> dict[str, int] | None:
    """The counts of a dry run, added up."""
    if not counts:
        return None
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _sum(counts: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """The sum of what is known by this name; null where nothing is."""
    known = [one[name] for one in counts if one.get(name) is not None]
    return sum(known) if known else None


def _known(item: Item, role: str, name: str) -> list[dict[str, Any]]:
    """The objects in the files of this name in the inputs, where they are there."""
    paths = (folder / name for folder in _inputs(item, role))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def is_deduplicated(record: ItemRecord) -> bool:
    """Whether a video's frames belong to the dataset. False for a playlist, which has no frames."""
    item = Item(record.id, record.source, record.folder)
    return record.outcome == "done" and item.has_output(Dedup.name)
