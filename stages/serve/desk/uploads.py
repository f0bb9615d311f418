"""Videos that are uploaded, piece by piece: the files behind the tus protocol.

UPLOADS/<id>/info.json    what is to come: written first, and synced
UPLOADS/<id>/incoming     what has come: its length is how far the upload is
UPLOADS/<id>/<name>       the whole video: `incoming`, synced, under its own name
"""

import json
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.serve.desk.problems import HttpRefusal

INFO, INCOMING = "info.json", "incoming"

LONGEST_NAME = 200
"""Bytes of a video's own name, at most: file systems take 255."""

LASTS = 24 * 3600.0
"""Seconds after its last change for which an upload stays that no job names."""

ROOM = 64 << 20
"""Bytes that stay free beside what is being uploaded."""


@dataclass(frozen=True, slots=True)
class VideoUpload:
    """An upload of `length` bytes by a caller. `name` is safe as a file name."""

    id: str
    owner: str
    length: int
    name: str


class Uploads:
    """The uploads of a work folder. Its methods block; those that change one upload raise
    HttpRefusal where another one is at it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """`most_bytes` is the size of the largest upload."""
        self.folder = folder
        self.most_bytes = most_bytes
        self._at_work: set[str] = set()

    def create(self, owner: str, length: int, name: str) -> VideoUpload:
        """Raises HttpRefusal for one that is too large, or that the disk has no room for."""
        if length > self.most_bytes:
            raise HttpRefusal(413, f"an upload has {self.most_bytes} bytes at most")
        upload = VideoUpload(secrets.token_urlsafe(16), owner, length, safe_name(name))
        folder = self.folder / upload.id
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < length + ROOM:
                raise HttpRefusal(507, "the disk has no room for this upload; try again later")
            folder.mkdir(mode=0o700)
            (folder / INCOMING).touch()
            _write_synced(folder / INFO, json.dumps(asdict(upload)))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _disk(error) from None
        if length == 0:
            self._finish(upload)
        return upload

    def find(self, owner: str, id_: str) -> VideoUpload:
        """Raises HttpRefusal where the caller has no such upload."""
        if re.fullmatch(r"[A-Za-z0-9_-]{22}", id_):
            try:
                upload = VideoUpload(**json.loads((self.folder / id_ / INFO).read_text()))
            except (OSError, ValueError, TypeError):
                pass
            else:
                if upload.owner == owner:
                    return upload
        raise HttpRefusal(404, "there is no such upload; POST /uploads begins one")

    def offset(self, upload: VideoUpload) -> int:
        """The number of bytes that have come."""
        if self.path(upload) is not None:
            return upload.length
        return (self.folder / upload.id / INCOMING).stat().st_size

    def path(self, upload: VideoUpload) -> Path | None:
        """The whole video; None as long as it is not whole."""
        path = self.folder / upload.id / upload.name
        return path if path.is_file() else None

    def begin(self, upload: VideoUpload, offset: int) -> "Incoming":
        """What takes the bytes from `offset` on, until `end`. Raises HttpRefusal."""
        if upload.id in self._at_work:
            raise HttpRefusal(423, "another request is uploading to this address; wait for it")
        if (has := self.offset(upload)) != offset:
            raise HttpRefusal(409, f"the upload has {has} bytes; go on from there")
        self._at_work.add(upload.id)
        try:
            is_whole = has == upload.length
            path = self.folder / upload.id / INCOMING
            descriptor = None if is_whole else os.open(path, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            self._at_work.discard(upload.id)
            raise _disk(error) from None
        return Incoming(descriptor, upload.length - has)

    def end(self, upload: VideoUpload, incoming: "Incoming") -> None:
        """Have what came stand on the disk; once all is there the video is whole."""
        try:
            incoming.close()
            if incoming.left == 0 and self.path(upload) is None:
                self._finish(upload)
        except OSError as error:
            raise _disk(error) from None
        finally:
            self._at_work.discard(upload.id)

    def remove(self, upload: VideoUpload) -> None:
        """Raises HttpRefusal while bytes come."""
        if upload.id in self._at_work:
            raise HttpRefusal(423, "a request is uploading to this address; wait for it")
        shutil.rmtree(self.folder / upload.id, ignore_errors=True)

    def sweep(self, wanted: Collection[str]) -> None:
        """Remove what has not changed for LASTS seconds, but for the uploads of these ids."""
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if folder.name in wanted or folder.name in self._at_work:
                continue
            changed = max(path.stat().st_mtime for path in [folder, *folder.glob("*")])
            if time.time() - changed > LASTS:
                shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, upload: VideoUpload) -> None:
        folder = self.folder / upload.id
        (folder / INCOMING).replace(folder / upload.name)
        _sync(folder)


class Incoming:
    """Takes the bytes of one request."""

    def __init__(self, descriptor: int | None, left: int) -> None:
        self._descriptor = descriptor
        self.left = left

    def write(self, piece: bytes) -> None:
        """Raises HttpRefusal where there are more than were announced, and for a full disk."""
        if len(piece) > self.left:
            raise HttpRefusal(413, "there are more bytes than Upload-Length said")
        view = memoryview(piece)
        while view and self._descriptor is not None:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                raise _disk(error) from None
            self.left -= written
            view = view[written:]

    def close(self) -> None:
        """What was written is on the disk when this returns."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)


def safe_name(name: str) -> str:
    """A file name that says what the client called the video, in letters of any language, and can
    do no harm."""
    whole = unicodedata.normalize("NFC", name)  # of macOS an accent comes as a sign of its own
    plain = re.sub(r"[^\w.-]+", "-", whole.rpartition("/")[2].rpartition("\\")[2])
    plain = plain.encode()[-LONGEST_NAME:].decode(errors="ignore").lstrip(".-")
    return f"video-{plain}" if plain in (INFO, INCOMING, "") else plain


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)
    _sync(path.parent.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk(error: OSError) -> HttpRefusal:
    return HttpRefusal(507, f"the disk does not take it: {error.strerror}; try again later")
