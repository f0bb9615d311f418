"""The upload stage: files go into an object store, and what comes out are links to them."""

import hashlib
import json
import mimetypes
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from anyio.to_thread import run_sync

from engine import Item, Permanent, Skip, Stage
from stages.files.folders import INFO
from stages.store.bucket import Bucket, Content
from stages.store.settings import UploadSettings

UPLOAD = "upload.json"


class Uploading(Stage, ABC):
    """The base of steps that put files into an object store, each once, under a name made of its
    content.

    Of `files` it reads what `files` says, and writes upload.json: {"files": [{file, url, expires,
    address, key, size, sha256, etag, sent}, …]}, with the bytes that were sent, 0 of a file that
    was there. Where no store is set it skips its items.
    """

    inputs = "files"
    # What else is made of an item does not wait for a store that is away: `penstock retry` puts the
    # files there later.
    defaults: ClassVar[dict[str, Any]] = {"workers": 8, "optional": True}
    goes_first: ClassVar[bool] = False
    """Whether its files pass those of other steps on the line to the store."""
    _bucket: Bucket | None = None

    @property
    @abstractmethod
    def store(self) -> UploadSettings:
        """Where the files are put."""

    def files(self, folder: Path) -> Sequence[Path]:
        """The files of an output that are to be put."""
        return files_of(folder)

    async def open(self) -> None:
        """Raises UsageError where the store cannot be used as it is set."""
        if self.store.url is not None:
            self._bucket = Bucket(self.store, first=self.goes_first)

    async def process(self, item: Item, out: Path) -> None:
        bucket = self._bucket
        if bucket is None:
            raise Skip("no object store is set (stages.upload.url)", kind="no_store")
        files = [
            await self._put(bucket, file, item.partial(self.name))
            for file in await run_sync(self.files, item.input("files"))
        ]
        (out / UPLOAD).write_text(json.dumps({"files": files}, indent=2) + "\n")

    async def _put(self, bucket: Bucket, file: Path, partial: Path) -> dict[str, Any]:
        content = await run_sync(content_of, file)
        stored = await bucket.put(content, partial / content.key)
        url, expires = await bucket.link(content.key)
        return {
            "file": file.name,
            "url": url,
            "expires": expires,
            "address": bucket.place.address(content.key),
            "key": bucket.place.path(content.key),
            "size": content.size,
            "sha256": content.sha256,
            "etag": stored.etag,
            "sent": stored.sent,
        }

    async def close(self) -> None:
        if self._bucket is not None:
            self._bucket.close()

    def gate(self, item: Item) -> str | None:
        """The store's host."""
        return self.store.host


class Upload(Uploading):
    """Put the video that info.json names, or else every file but info.json, into an object
    store."""

    class Settings(UploadSettings):
        """Those of the store."""

    settings: "Upload.Settings"

    @property
    def store(self) -> UploadSettings:
        return self.settings


def files_of(folder: Path) -> list[Path]:
    """The files of an output that are to be put: the one that info.json names, or else all but
    that. Raises Permanent where there is none."""
    info = folder / INFO
    if info.is_file():
        named = json.loads(info.read_text(encoding="utf-8")).get("file")
        if isinstance(named, str) and (folder / named).is_file():
            return [folder / named]
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != INFO and not path.name.startswith(".")
    ]
    if not files:
        raise Permanent(f"{folder.name} has no file to upload", kind="no_file")
    return files


def content_of(file: Path) -> Content:
    """The file with its hash, read once. Its key is the hash and the ending of its name."""
    with file.open("rb") as read:
        sha256 = hashlib.file_digest(read, "sha256").hexdigest()
        size = read.tell()
    ending = file.suffix.lower()
    ending = ending if re.fullmatch(r"\.[a-z0-9]{1,8}", ending) else ""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Content(file, f"{sha256}{ending}", size, sha256, kind)
