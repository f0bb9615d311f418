"""The videos of a work folder whose scenes are known, as the page lists them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from engine import Item, PageContext, PageFile
from stages.files.folders import INFO
from stages.net.addresses import local_path
from stages.persistence.records import SCENES, SUMMARY
from stages.scenes.describing.composed import COMPOSED

MEDIA_TYPES = {
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
}
"""The files that are sent as a video; a browser plays most of them."""

YOUTUBE = re.compile(r"([\w-]+\.)?youtube\.com|youtu\.be")

PICTURE = re.compile(r"scenes/\d{1,12}/[\w-]+\.jpg", re.ASCII)
"""The file of a thumbnail, in the folder that has a video's scenes."""


@dataclass(frozen=True, slots=True)
class SceneSteps:
    """The pipeline's names of the steps whose outputs the page reads."""

    scenes: str
    summary: str
    video: str


@dataclass(frozen=True, slots=True)
class ShownVideo:
    """A video as the page lists it. `moment` is the address of a moment of it, but for the seconds
    at its end; None where nothing can open it. `count` is the number of its scenes."""

    item: Item
    steps: SceneSteps
    title: str
    moment: str | None
    length: float
    count: int

    @property
    def folder(self) -> Path:
        return self.item.folder / self.steps.scenes

    def scenes(self, first: int = 0, count: int | None = None) -> Iterator[dict[str, Any]]:
        """The records of its scenes from the place `first` on."""
        with (self.folder / SCENES).open(encoding="utf-8") as file:
            yield from map(
                json.loads, islice(file, first, None if count is None else first + count)
            )

    def summary(self) -> Mapping[str, Any]:
        """What summary.json says, where a model wrote it; else nothing."""
        file = self.item.folder / self.steps.summary / SUMMARY
        told = _json_in(file)
        return told if told.get("made_by") != COMPOSED else {}

    def file(self) -> PageFile | None:
        """The video itself, where it is here and of a kind that a browser may play."""
        folder = self.item.folder / self.steps.video
        name = str(_json_in(folder / INFO).get("file") or "")
        kind = MEDIA_TYPES.get(Path(name).suffix.lower())
        if kind is None or Path(name).name != name or not (folder / name).is_file():
            return None
        local = local_path(self.item.source)
        return PageFile(folder / name, kind, None if local is None else str(local))

    def picture(self, name: str) -> PageFile | None:
        """The thumbnail of this name, as a record has it; None for any other file."""
        return PageFile(self.folder / name, "image/jpeg") if PICTURE.fullmatch(name) else None


def shown_videos(context: PageContext, steps: SceneSteps) -> Iterator[ShownVideo]:
    """Every video whose scenes are known: of those that are done, and of those still on their
    way."""
    for record in context.items():
        item = Item(record.id, record.source, record.folder)
        if record.outcome not in ("done", "pending") or not item.has_output(steps.scenes):
            continue
        try:
            facts = _facts(item.folder / steps.scenes)
        except (OSError, ValueError, LookupError):
            continue  # being replaced just now
        yield ShownVideo(
            item=item,
            steps=steps,
            title=str(facts.info.get("title") or _name(record.source)),
            moment=moment_of(record.source, facts.info.get("webpage_url")),
            length=facts.length,
            count=facts.count,
        )


def moment_of(source: str, page: object = None) -> str | None:
    """The address of a moment of a video, but for the seconds at its end; None where there is none
    that a browser should open."""
    for address in (source, page):
        if isinstance(address, str) and (found := _on_youtube(address)):
            return found
    if re.match(r"https?://", source):
        return f"{source.partition('#')[0]}#t="
    path = local_path(source)
    return f"{path.as_uri()}#t=" if path is not None and path.is_absolute() else None


def _on_youtube(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not YOUTUBE.fullmatch(host):
        return None
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "t"]
    return urlunsplit((*parts[:3], urlencode([*query, ("t", "")]), ""))


def _name(source: str) -> str:
    """A file's name; an address as it is."""
    return Path(source).name if "://" not in source else source


@dataclass(frozen=True, slots=True)
class Facts:
    """The number of a video's scenes, the end of the last one, and the video's info.json."""

    count: int
    length: float
    info: Mapping[str, Any]


def _facts(folder: Path) -> Facts:
    status = (folder / SCENES).stat()
    return _read_facts(folder, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=10_000)
def _read_facts(folder: Path, changed: int, inode: int) -> Facts:
    """Read once: a live page lists thousands of videos every few seconds."""
    lines = (folder / SCENES).read_bytes().splitlines()
    length = float(json.loads(lines[-1])["end"]) if lines else 0.0
    return Facts(len(lines), length, _json_in(folder / INFO))


def _json_in(file: Path) -> Mapping[str, Any]:
    """The object in a file; nothing where it is not there."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
