"""Hashes a video's frames and gathers all that the dataset needs of the video."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import engine
from engine import Item, Permanent, Stage, checkpoint, setting
from stages.folders import link_or_copy
from stages.hashing import perceptual_hash

if TYPE_CHECKING:
    from stages.neardup import Choice

FACTS = ("title", "uploader", "duration", "upload_date", "webpage_url", "license")
"""What the dataset tells of a video, as info.json names it."""

INFO_FOLDERS = ("download", "extract", "filter")
"""Where info.json may stand, the first first: a download's folder is often deleted early."""


class Dedup(Stage):
    """Hash the kept frames and mark those that nearly repeat another of the same video.

    Its output alone is what the dataset is built from, so every stage before it may have
    keep = false: frames/ (hard links), hashes.jsonl, frames.jsonl and video.json.
    """

    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

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
        source = item.output("filter")
        frames = sorted(read_lines(source / "detections.jsonl"), key=lambda line: line["file"])
        descriptions = _descriptions(item)

        (out / "frames").mkdir()
        hashes = []
        for frame in frames:
            checkpoint()
            link_or_copy(source / "frames" / frame["file"], out / "frames" / frame["file"])
            hashes.append(_hash(out / "frames" / frame["file"]))
        choice = self._choose(frames, hashes)

        write_lines(
            out / "hashes.jsonl",
            [_hash_line(frames, hashes, choice, at) for at in range(len(frames))],
        )
        write_lines(
            out / "frames.jsonl",
            [_frame_line(frame, descriptions.get(frame["file"], {})) for frame in frames],
        )
        write_lines(out / "video.json", [_video(item)])

    def _choose(self, frames: list[dict[str, Any]], hashes: list[int]) -> "Choice":
        import numpy as np

        from stages import neardup

        columns = neardup.Frames(
            hashes=np.array(hashes, np.uint64),
            pixels=np.array([_pixels(frame) for frame in frames], np.int64),
            sharpness=np.array([frame["sharpness"] for frame in frames], np.float64),
            timestamps=np.array([frame["timestamp"] for frame in frames], np.float64),
            videos=np.zeros(len(frames), np.int64),
            files=np.arange(len(frames)),
        )
        return neardup.choose(columns, self.settings.distance)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects, one a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _hash(path: Path) -> int:
    try:
        return perceptual_hash(path)
    except OSError as error:
        raise Permanent(
            f"frame {path.name} is not a readable image; "
            f"delete the item's folder to have it made again",
            kind="unreadable_frame",
        ) from error


def _pixels(frame: Mapping[str, Any]) -> int:
    return int(frame["width"]) * int(frame["height"])


def _hash_line(
    frames: list[dict[str, Any]], hashes: list[int], choice: "Choice", at: int
) -> dict[str, Any]:
    kept = bool(choice.kept[at])
    return {
        "file": frames[at]["file"],
        "timestamp": frames[at]["timestamp"],
        "hash": format(hashes[at], "016x"),
        "pixels": _pixels(frames[at]),
        "sharpness": frames[at]["sharpness"],
        "duplicate_of": None if kept else frames[int(choice.nearest[at])]["file"],
        "distance": None if kept else int(choice.distance[at]),
    }


def _frame_line(frame: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: frame[key] for key in ("file", "timestamp", "width", "height", "detections")},
        "description": description.get("description"),
        "described_by": description.get("by"),
        "reused_from": description.get("reused_from"),
    }


def _descriptions(item: Item) -> dict[str, dict[str, Any]]:
    """The descriptions by file; none where describe is optional and failed."""
    if not item.has_output("describe"):
        return {}
    lines = read_lines(item.output("describe") / "descriptions.jsonl")
    return {line["file"]: line for line in lines}


def _video(item: Item) -> dict[str, Any]:
    """What the dataset tells of the video; null for what is not known."""
    info = _read_first(item, INFO_FOLDERS, "info.json")
    counts = _read_first(item, ("filter",), "filter.json")
    return {
        **{key: info.get(key) for key in FACTS},
        "frames_sampled": counts.get("frames_in"),
        "frames_filtered": counts.get("frames_kept"),
        "classes": counts.get("classes") or counts.get("names"),
        "requests": _read_first(item, ("describe",), "requests.json") or None,
    }


def _read_first(item: Item, stages: Iterable[str], name: str) -> dict[str, Any]:
    for stage in stages:
        path = item.folder / stage / name
        if item.has_output(stage) and path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return {}
