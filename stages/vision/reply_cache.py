"""Paid replies on disk, by model, question and image, so that no call is ever paid for twice.

FOLDER/<2 hex digits>/<62 more>.json, one small file a reply, renamed into place.
"""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiofiles
import anyio
from anyio.to_thread import run_sync

from stages.vision.api import Reply, as_kept

MOST_LOOKED_AT = 2000
"""The most frames that are checked to find one that was answered."""


class ReplyCache:
    """Replies to one kind of question: `identity` and the image together decide a reply.

    One event loop uses it; another process may read the same folder, and should not write it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = identity_digest(identity)
        self._in_flight: dict[str, anyio.Event] = {}

    def key(self, image: bytes) -> str:
        """The reply's name: 64 hex digits, SHA-256 of the identity and of the image's bytes."""
        return hashlib.sha256(self.identity.encode() + hashlib.sha256(image).digest()).hexdigest()

    def has(self, key: str) -> bool:
        """Whether the reply is on disk."""
        try:
            return _parsed(self._path(key).read_text(encoding="utf-8")) is not None
        except (OSError, ValueError):
            return False

    async def read(self, key: str) -> Reply | None:
        """The reply on disk. None where there is none, where a power cut left it incomplete, or
        where it holds no valid answer."""
        try:
            async with aiofiles.open(self._path(key), encoding="utf-8") as file:
                return _parsed(await file.read())
        except (FileNotFoundError, ValueError):
            return None

    async def get(self, key: str, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply on disk, or else the result of `ask`, which is on disk before it is returned.

        Of several concurrent calls for one key, one asks. If it fails, only that call raises the
        error: the next one asks for itself.
        """
        while (flight := self._in_flight.get(key)) is not None:
            await flight.wait()
        flight = self._in_flight[key] = anyio.Event()
        try:
            reply = await self.read(key)
            if reply is None:
                reply = await ask()
                # The reply is paid for: a cancellation now must not lose it.
                with anyio.CancelScope(shield=True):
                    await run_sync(_write, self._path(key), reply)
            return reply
        finally:
            del self._in_flight[key]
            flight.set()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"


def identity_digest(identity: Mapping[str, Any]) -> str:
    """64 hex digits that identify these names and values, in any order."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def has_answered(cache: ReplyCache, workdir: Path) -> bool:
    """Whether an earlier run had an answer to the same question about a frame in WORKDIR.

    Checks MOST_LOOKED_AT frames at most. Blocks.
    """
    frames = (
        frame
        for item in _entries(workdir / "items")
        for folder in (f"{item}/dedup", f"{item}/filter", *_in_parts(item, "filter"))
        for frame in _entries(f"{folder}/frames")
    )
    for frame in itertools.islice(frames, MOST_LOOKED_AT):
        try:
            if cache.has(cache.key(Path(frame).read_bytes())):
                return True
        except OSError:  # no frame, or deleted meanwhile
            continue
    return False


def _in_parts(item: str, stage: str) -> Iterator[str]:
    """The output folders of a stage at the parts of an item."""
    for folder in _entries(item):
        if folder.endswith(".parts"):
            yield from (f"{part}/{stage}" for part in _entries(folder))


def _entries(folder: Path | str) -> Iterator[str]:
    """The entries of a folder, none if it is missing."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.path for entry in entries)
    except OSError:
        return


def _parsed(text: str) -> Reply | None:
    """The reply in the text. Raises ValueError where it is no JSON."""
    try:
        return as_kept(Reply(**json.loads(text)))
    except TypeError:
        return None


def _write(path: Path, reply: Reply) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".reply-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            kept = {"text": reply.text, "refusal": reply.refusal, "tokens": reply.tokens}
            json.dump(kept, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
