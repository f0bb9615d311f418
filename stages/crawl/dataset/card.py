"""README.md of a dataset: its content, its making, and its counts, for people and for tools."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

TABLES = ("frames", "videos", "duplicates")
"""The tables, each as NAME.parquet."""

FILES = """\
## Files

| file | one row for | columns |
|---|---|---|
| `frames.parquet` | a frame, by video and time | `video_id`, `file` (relative to this folder), \
`timestamp` (seconds), `width`, `height`, `detections` (`class`, `confidence`, `box` = x1, y1, x2, \
y2 in pixels), `description`, `described_by`, `reused_from` (the frame whose description it \
shares), `hash` (64-bit pHash), `source` |
| `videos.parquet` | everything that entered, by id | `id`, `source`, `parent` (the playlist it \
came from), what the site says of it, `outcome`, the `stage`, `kind` and `reason` where it is not \
done, `expanded` (videos in a playlist), frames sampled, filtered and kept |
| `duplicates.parquet` | a removed frame | `video_id`, `file`, and the kept frame nearest to it: \
`kept_video_id`, `kept_file`, `distance` in bits |

`classes.json` lists the classes; where a name stands in it, from 0, is its number in exports.

No two frames are within the deduplication distance of one another, and every removed frame is \
within it of the kept frame that it names.
"""

UNDESCRIBED = "no description"


@dataclass
class Totals:
    """The counts of the card, gathered row by row while the tables are written."""

    outcomes: Counter[str] = field(default_factory=Counter)
    playlists: int = 0
    ended_early: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    frames_sampled: int = 0
    frames_filtered: int = 0
    frames_kept: int = 0
    videos_with_frames: int = 0
    duplicates: int = 0
    duplicates_across: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    frames_by_class: Counter[str] = field(default_factory=Counter)
    boxes_by_class: Counter[str] = field(default_factory=Counter)
    described_by: Counter[str] = field(default_factory=Counter)
    reused: int = 0
    classes_known: dict[tuple[str, ...], None] = field(default_factory=dict)
    """The different class lists of the videos' detectors, in the videos' order."""

    def add_classes(self, names: Sequence[str] | None) -> None:
        """Add the class list of a video's detector; None where it was not recorded."""
        if names:
            self.classes_known[tuple(names)] = None

    @property
    def undescribed(self) -> int:
        """Kept frames without a description."""
        return self.described_by[UNDESCRIBED]

    def add_frame(self, row: Mapping[str, Any]) -> None:
        """Count a row of frames.parquet."""
        self.frames_kept += 1
        classes = [detection["class"] for detection in row["detections"]]
        self.boxes_by_class.update(classes)
        self.frames_by_class.update(set(classes))
        described = row["description"] is not None
        self.described_by[str(row["described_by"]) if described else UNDESCRIBED] += 1
        self.reused += row["reused_from"] is not None

    def add_duplicate(self, row: Mapping[str, Any]) -> None:
        """Count a row of duplicates.parquet."""
        self.duplicates += 1
        self.duplicates_across += row["video_id"] != row["kept_video_id"]

    def add_video(self, row: Mapping[str, Any]) -> None:
        """Count a row of videos.parquet."""
        self.outcomes[row["outcome"]] += 1
        self.playlists += row["expanded"] is not None
        if row["outcome"] in ("failed", "dropped"):
            self.ended_early[(row["outcome"], str(row["stage"]), str(row["kind"]))] += 1
        self.frames_sampled += row.get("frames_sampled") or 0
        self.frames_filtered += row.get("frames_filtered") or 0
        if row.get("frames_kept"):
            self.videos_with_frames += 1
            self.licences[row["license"] or "not stated"] += 1


def counted(count: int, noun: str) -> str:
    """ "1 frame", "2 frames", "1,000 frames"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def write_card(
    folder: Path, totals: Totals, settings: Mapping[str, BaseModel], versions: Mapping[str, str]
) -> None:
    """Write README.md, the card of the dataset in `folder`, whose tables are written.

    Its front matter lets `datasets.load_dataset(folder)` read the tables. It names the settings
    that affect the output, by stage, and the versions; no time and no folder of the machine, so the
    same crawl makes the same card.
    """
    parts = [
        _front_matter(folder, totals),
        _introduction(totals),
        FILES,
        _counts(totals),
        _provenance(totals),
        "## How it was made\n",
        _table(("setting", "value"), _settings(settings)),
        _table(("software", "version"), sorted(versions.items())),
    ]
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _front_matter(folder: Path, totals: Totals) -> str:
    made = (
        f"{counted(totals.frames_kept, 'frame')} from {counted(totals.videos_with_frames, 'video')}"
    )
    tables = {name: digest(folder / f"{name}.parquet") for name in TABLES}
    configs = [
        f"- config_name: {name}\n"
        + ("  default: true\n" if name == "frames" else "")
        + f"  data_files: {name}.parquet\n"
        + f"  description: {json.dumps(f'{made}, {tables[name]}')}\n"
        for name in TABLES
    ]
    return front_matter(configs)


def front_matter(configs: Iterable[str]) -> str:
    """The front matter of a README.md for Hugging Face's `datasets`.

    Each of the `configs` has to mention its data, such as by a `digest`: `datasets` recognises a
    loaded dataset by the folder's name and this text, not by the files, and would otherwise give
    the rows of another crawl.
    """
    return f"""\
---
pretty_name: Frames gathered by Penstock
task_categories:
- object-detection
- image-to-text
configs:
{"".join(configs)}---
"""


def digest(path: Path) -> str:
    """Twelve hex digits of the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _introduction(totals: Totals) -> str:
    return (
        "# Frames gathered by Penstock\n\n"
        f"{counted(totals.frames_kept, 'frame')} from "
        f"{counted(totals.videos_with_frames, 'video')}: sampled from the videos, filtered by an "
        "object detector, described, and deduplicated across all of them.\n"
    )


def _counts(totals: Totals) -> str:
    steps = [
        ("entered", sum(totals.outcomes.values())),
        ("of them playlists, feeds and pages that hold videos", totals.playlists),
        *((outcome, totals.outcomes[outcome]) for outcome in ("done", "dropped", "failed")),
        ("pending", totals.outcomes["pending"]),
        ("frames sampled from the videos done", totals.frames_sampled),
        ("frames that passed the filter", totals.frames_filtered),
        ("near-duplicates removed", totals.duplicates),
        ("of them, near-duplicates of a frame of another video", totals.duplicates_across),
        ("frames kept", totals.frames_kept),
        ("of them, sharing the description of a near-identical frame", totals.reused),
    ]
    if totals.undescribed:
        steps.append(("of them, without a description", totals.undescribed))
    classes = [
        (name, totals.frames_by_class[name], count)
        for name, count in _by_count(totals.boxes_by_class)
    ]
    return "\n".join(
        [
            "## Counts\n",
            _table(("what", "how many"), steps),
            _table(("class", "frames", "boxes"), classes),
            _table(("described by", "frames"), _by_count(totals.described_by)),
        ]
    )


def _provenance(totals: Totals) -> str:
    ended = [(*why, count) for why, count in _by_count(totals.ended_early)]
    return "\n".join(
        [
            "## Where it comes from\n",
            "Every frame names its video and its time in it, and `videos.parquet` where the video "
            "was found. The rights in a frame are those of its video: check them before you pass "
            "the frames on.\n",
            _table(
                ("licence, as the site states it", "videos with frames here"),
                _by_count(totals.licences),
            ),
            _table(("outcome", "stage", "class", "videos"), ended),
        ]
    )


def _settings(settings: Mapping[str, BaseModel]) -> list[tuple[str, str]]:
    rows = []
    for stage, values in sorted(settings.items()):
        fields = type(values).model_fields
        for name, value in values.model_dump(mode="json").items():
            extra = fields[name].json_schema_extra
            if isinstance(extra, dict) and extra.get("affects_output", True):
                rows.append((f"{stage}.{name}", json.dumps(_portable(value), ensure_ascii=False)))
    return rows


def _portable(value: Any) -> Any:
    """A setting's value without the parts that must not leave this machine: a file's name for its
    path, and only the names of free options."""
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    if isinstance(value, list):
        return [_portable(entry) for entry in value]
    if isinstance(value, dict):
        # Options that are passed on to a library may hold a password.
        return sorted(value)
    return value


def _by_count(counter: Counter[Any]) -> list[tuple[Any, int]]:
    """The most frequent first; equals in their own order, so not in that of their arrival."""
    return sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))


def _table(header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A table; empty where there are no rows."""
    lines = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(header) + " |", "|---" * len(header) + "|", *lines, ""])


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
