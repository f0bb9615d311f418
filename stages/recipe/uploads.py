"""A recipe's files in an object store: its frames, and the links to them in what is persisted."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

import engine
from engine import Item
from stages.persistence.persist import Persist
from stages.persistence.records import read_records
from stages.recipe.frames.frames import PICTURE
from stages.recipe.writing.write import WriteDocument
from stages.sinks.sink import VideoRecords
from stages.store.settings import UploadSettings
from stages.store.upload import UPLOAD, Upload, Uploading

LINK = ("url", "expires", "address")
"""What a record holds of a file in the store."""


class UploadFrame(Uploading):
    """Put the picture of a chosen frame into the object store. Of `files` it reads frame.jpg."""

    name = "frame_upload"
    defaults: ClassVar[dict[str, Any]] = {**Uploading.defaults, "workers": 16}

    class Settings(engine.Settings):
        """There are none of its own: [stages.upload] says where to."""

        _store: UploadSettings = PrivateAttr(default_factory=UploadSettings)

        @property
        def store(self) -> UploadSettings:
            return self._store

        @classmethod
        def like(cls, store: UploadSettings) -> "UploadFrame.Settings":
            made = cls()
            made._store = store
            return made

    settings: "UploadFrame.Settings"

    @property
    def store(self) -> UploadSettings:
        return self.settings.store

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Where the pictures are put, and what links to them are like."""
        if self.store.url is None:
            return {}
        return self.store.model_dump(include={"url", "endpoint", "public_url", "link_days"})

    def files(self, folder: Path) -> list[Path]:
        return [folder / PICTURE]


class PersistDocument(Persist):
    """Put a document into the sinks, with links to the video and the frames, where these are in an
    object store: see `with_links`. Of `video_upload` and `frame_uploads` it reads upload.json."""

    name = Persist.name
    optional_inputs: ClassVar[str | Sequence[str]] = ("summary", "video_upload", "frame_uploads")

    def records(self, item: Item) -> VideoRecords:
        video = item.input("video_upload") if item.has_input("video_upload") else None
        frames = [part.input("frame_uploads") for part in item.parts("frame_uploads")]
        return with_links(super().records(item), item.input("scenes"), video, frames)


def stored_records(item: Item) -> VideoRecords:
    """A finished video as `PersistDocument` puts it into the sinks."""
    written = item.output(WriteDocument.name)
    video = item.output(Upload.name) if item.has_output(Upload.name) else None
    frames = [part.output(UploadFrame.name) for part in item.parts_with(UploadFrame.name)]
    return with_links(read_records(item, written, None), written, video, frames)


def with_links(
    records: VideoRecords, written: Path, video: Path | None, frames: Iterable[Path]
) -> VideoRecords:
    """The records with where files are in the object store: the document has `stored`, the video's
    url, expires and address, and each record `picture`, those of its thumbnail, a file in
    `written`."""
    document = dict(records.document)
    if video is not None:
        [document["stored"]] = _links(video).values()
    pictures: dict[str, Any] = {}
    for folder in frames:
        pictures |= _links(folder)
    if not pictures:
        return replace(records, document=document)
    rows = [dict(record) for record in records.scenes]
    for row in rows:
        if name := row.get("thumbnail"):
            file = written / str(name).partition("/")[2]
            link = pictures.get(hashlib.sha256(file.read_bytes()).hexdigest())
            if link is not None:
                row["picture"] = link
    return replace(records, document=document, scenes=rows)


def _links(folder: Path) -> dict[str, dict[str, Any]]:
    """The links of uploaded files, by the hash of their content."""
    told = json.loads((folder / UPLOAD).read_text(encoding="utf-8"))
    return {one["sha256"]: {name: one[name] for name in LINK} for one in told["files"]}
