"""A recipe's files in an object store: its frames, and the links to them in what is persisted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

import engine
from engine import Item
from stages.persistence.links import with_links
from stages.persistence.records import read_records
from stages.recipe.frames.frames import PICTURE
from stages.recipe.writing.write import WriteDocument
from stages.sinks.sink import VideoRecords
from stages.store.settings import UploadSettings
from stages.store.upload import Upload, Uploading


class UploadFrame(Uploading):
    """Put the picture of a chosen frame into the object store. Of `files` it reads frame.jpg."""

    name = "frame_upload"
    # Frames that wait for the line must not hold up those that are still to be looked at.
    defaults: ClassVar[dict[str, Any]] = {**Uploading.defaults, "workers": 16, "queue": 256}
    # They are small, and shown while the video is still on its way, whatever its size.
    goes_first = True

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


def stored_records(item: Item) -> VideoRecords:
    """A finished video as `Persist` puts it into the sinks."""
    written = item.output(WriteDocument.name)
    video = item.output(Upload.name) if item.has_output(Upload.name) else None
    frames = [part.output(UploadFrame.name) for part in item.parts_with(UploadFrame.name)]
    return with_links(read_records(item, written, None), written, video, frames)
