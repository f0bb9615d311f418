"""The looks of frames from videos whose dedup output was made before it recorded them.

The results are kept in WORKDIR/cache/looks/, so that each frame is examined once: outputs of
earlier versions stay as they are, and nothing is redone for them.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine import ItemRecord, available_cores
from stages.crawl.dataset.dedup import Dedup, looks_of
from stages.files.json_lines import read_lines, write_lines

Line = Mapping[str, Any]


def with_looks(workdir: Path, record: ItemRecord, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The lines of a video's hashes.jsonl, each with the fields of `frame_quality.Looks`.

    Raises Permanent, kind "unreadable_frame", for a frame that is no image.
    """
    if all("clarity" in line for line in lines):
        return [dict(line) for line in lines]
    cached = workdir / "cache" / "looks" / f"{record.id}.jsonl"
    names = [line["file"] for line in lines]
    looks = _read(cached, names)
    if looks is None:
        folder = record.folder / Dedup.name / "frames"
        with ThreadPoolExecutor(available_cores()) as pool:
            found = pool.map(lambda name: looks_of(folder / name), names)
            looks = [{"file": name, **asdict(one)} for name, one in zip(names, found, strict=True)]
        _write(cached, looks)
    return [{**line, **look} for line, look in zip(lines, looks, strict=True)]


def _read(path: Path, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """The cached looks for the frames of these names; None where there are
    none, or those of other frames."""
    try:
        looks = read_lines(path)
    except (FileNotFoundError, ValueError):
        return None
    return looks if [look.get("file") for look in looks] == list(names) else None


def _write(path: Path, looks: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    write_lines(new, looks)
    new.replace(path)
