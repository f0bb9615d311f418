"""Describes one video's frames by a vision model: cached, reused, or asked."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from engine import Item, Permanent, StopRun, Throttled, Transient, Withdrawn
from stages.calls.client import ApiClient
from stages.calls.errors import CallFailed, Refused, ServerFailed
from stages.calls.outages import put_off
from stages.crawl.originals import Claims, Original, Originals
from stages.neardup.hashing import perceptual_hash
from stages.vision.api import Reply, Subject
from stages.vision.asking import KIND
from stages.vision.reply_cache import ReplyCache

MOST_VIDEOS = 100
"""Videos whose own frames are remembered for their other parts, where reuse stays within a video:
more than are ever under way at once."""

Line = dict[str, Any]
"""One line of descriptions.jsonl."""


def line(
    file: str,
    by: str,
    description: str | None = None,
    reused_from: str | None = None,
    error: str | None = None,
    *,
    refused: bool = False,
) -> Line:
    """One frame's line of descriptions.jsonl. `refused`: its error stays, however often it is asked
    about."""
    found: Line = {
        "file": file,
        "description": description,
        "by": by,
        "reused_from": reused_from,
        "error": error,
    }
    return found | {"refused": True} if refused else found


def check_described(lines: Sequence[Line]) -> None:
    """Raises, if no frame of a video has a description: Permanent, kind "refused", where all were
    refused, and Transient otherwise."""
    if lines and all(entry["error"] for entry in lines):
        reason = f"none of {len(lines)} frames could be described: {lines[-1]['error']}"
        if all(entry.get("refused") for entry in lines):
            raise Permanent(reason, kind="refused")
        raise Transient(reason, kind="vision-api")


class FrameDescriber:
    """The parts that all videos share: the cache, the originals and the client.

    `originals` are those of the whole work folder, or None where reuse stays within a video;
    `distance` then applies within a video, None for no reuse at all. `images` bounds the images
    that one video holds in memory.
    """

    def __init__(
        self,
        by: str,
        cache: ReplyCache,
        client: ApiClient[Subject, Reply] | None,
        originals: Originals | None,
        distance: int | None,
        images: int,
    ) -> None:
        self.by = by
        self.cache = cache
        self.client = client
        self.originals = originals
        self.distance = distance
        self.images = images
        self._would_ask: set[str] = set()
        self._of_videos: dict[str, Originals] = {}

    async def describe(self, item: Item, folder: Path, files: Sequence[str]) -> list[Line]:
        """A line for each of the `files` in `folder`, in their order: those of a video, or of a
        part of one.

        If the server or the model refuses a frame, its line holds the reason; likewise if the
        server fails at that frame while it is well. Raises, of kind "vision-api", Transient where a
        frame has no description by a fault of the server; Throttled while the server is away; and
        the client's errors that concern every call. What `check_described` raises is left to the
        caller. Frames in flight are waited for before anything is raised: they are paid for.
        """
        return await _Video(self, self._claims(item, files), folder).describe(files)

    async def count(
        self, item: Item, folder: Path, files: Sequence[str]
    ) -> tuple[list[Line], dict[str, int]]:
        """The requests that `describe` would make now: lines without descriptions, and counts.

        {"requests", "frames", "reused", "cached"}: each readable frame is a request, reuses another
        frame's description, or has its reply in the cache. A frame that an earlier call of this
        instance counted as a request counts as cached.
        """
        claims = self._claims(item, files)
        lines = []
        counts = {"requests": 0, "frames": len(files), "reused": 0, "cached": 0}
        for file in files:
            try:
                jpeg, value = await run_sync(_load, folder / file, claims is not None)
            except CallFailed as error:
                lines.append(line(file, self.by, error=str(error)))
                continue
            original, own = None, True
            if claims is not None:
                original, own = claims.claim(file, value)
            key = self.cache.key(jpeg)
            if not own:
                counts["reused"] += 1
            elif key in self._would_ask or self.cache.has(key):
                counts["cached"] += 1
            else:
                self._would_ask.add(key)
                counts["requests"] += 1
            source = original.frame if original is not None and not own else None
            lines.append(line(file, self.by, reused_from=source))
        return lines, counts

    def _claims(self, item: Item, files: Sequence[str]) -> Claims | None:
        if self.distance is None:
            return None
        return self._originals_of(item.root.id).claims(item.root.id, files)

    def _originals_of(self, video: str) -> Originals:
        """Those of the whole work folder, or of this video alone, whose parts share them."""
        if self.originals is not None:
            return self.originals
        found = self._of_videos.get(video)
        if found is None:
            found = self._of_videos[video] = Originals(self.distance or 0)
            if len(self._of_videos) > MOST_VIDEOS:
                del self._of_videos[next(iter(self._of_videos))]
        return found


class _Video:
    """One attempt at one video."""

    def __init__(self, shared: FrameDescriber, claims: Claims | None, folder: Path) -> None:
        assert shared.client is not None
        self.client = shared.client
        self.cache = shared.cache
        self.by = shared.by
        self.claims = claims
        self.folder = folder
        self.room = anyio.Semaphore(shared.images)
        self.lines: dict[str, Line] = {}
        self.stops: list[Exception] = []
        self.faults: list[ServerFailed] = []

    async def describe(self, files: Sequence[str]) -> list[Line]:
        try:
            await self._describe_each(files)
        finally:
            if self.claims is not None:
                self.claims.end()
        if self.stops:
            # A stop of the whole run outranks a pause.
            raise min(self.stops, key=lambda stop: not isinstance(stop, StopRun))
        self._check_the_server(files)
        return [self.lines[file] for file in files]

    async def _describe_each(self, files: Sequence[str]) -> None:
        async with anyio.create_task_group() as tasks:
            for file in files:
                await self.room.acquire()
                if self.stops or self._is_away():
                    return
                # One after the other: the frames' order, not that of the replies, decides which
                # frame is described and which one reuses that description.
                try:
                    jpeg, value = await run_sync(_load, self.folder / file, self.claims is not None)
                except CallFailed as error:
                    self.room.release()
                    self.lines[file] = line(file, self.by, error=str(error))
                    continue
                original, own = None, True
                if self.claims is not None:
                    original, own = self.claims.claim(file, value)
                if original is not None and not own:
                    self.room.release()
                    work = partial(self._take, file, value, original)
                else:
                    work = partial(self._ask_and_leave, file, jpeg, original)
                tasks.start_soon(self._record, file, work)

    async def _record(self, file: str, work: Callable[[], Awaitable[Line]]) -> None:
        try:
            self.lines[file] = await work()
        except CallFailed as error:
            refused = isinstance(error, Refused)
            self.lines[file] = line(file, self.by, error=str(error), refused=refused)
            if isinstance(error, ServerFailed):
                self.faults.append(error)
        # OSError: a reply that cannot be written
        except (StopRun, Throttled, Withdrawn, OSError) as stop:
            self.stops.append(stop)

    async def _take(self, file: str, value: int, original: Original) -> Line:
        """The description of the original, once it has one; if the original
        fails, one of its own."""
        if await original.wait() and original.reply is not None:
            reply = await self.cache.read(original.reply)
            if reply is not None and reply.text is not None:
                self.client.proven = True
                return line(file, self.by, reply.text, reused_from=original.frame)
        assert self.claims is not None
        if self._is_away():
            return line(file, self.by, error="not asked about: the server is away")
        await self.room.acquire()
        jpeg, _ = await run_sync(_load, self.folder / file, False)
        return await self._ask_and_leave(file, jpeg, self.claims.claim_alone(file, value))

    async def _ask_and_leave(self, file: str, jpeg: bytes, original: Original | None) -> Line:
        try:
            reply = await self._ask(jpeg, original)
        finally:
            self.room.release()
        if reply.text is None:
            return line(file, self.by, error=reply.refusal, refused=True)
        return line(file, self.by, reply.text)

    async def _ask(self, jpeg: bytes, original: Original | None) -> Reply:
        key = self.cache.key(jpeg)
        described = asked = False

        async def ask() -> Reply:
            nonlocal asked
            asked = True
            return await self.client.ask(Subject((jpeg,)))

        try:
            reply = await self.cache.get(key, ask)
            described = reply.text is not None
            self.client.proven |= described and not asked
        finally:
            if original is not None and not described:
                original.fail()
        if original is not None and described:
            assert self.claims is not None
            await self.claims.originals.settle(original, key)
        return reply

    def _is_away(self) -> bool:
        """Whether the server was away for one of the frames: the others
        then need not be asked about."""
        return any(fault.away and not fault.is_the_questions(0) for fault in self.faults)

    def _check_the_server(self, files: Sequence[str]) -> None:
        """Raises where the server's fault left a frame without a
        description, so that none stays so."""
        answers = self.client.gate.answers
        faults = [fault for fault in self.faults if not fault.is_the_questions(answers)]
        if not faults:
            return
        described = sum(entry["description"] is not None for entry in self.lines.values())
        missing = len(files) - described
        if described:
            reason = f"{missing} of {len(files)} frames have no description yet: {faults[-1]}"
        else:
            reason = f"none of {len(files)} frames could be described: {faults[-1]}"
        raise put_off(self.client, reason, KIND)


def _load(path: Path, hashed: bool) -> tuple[bytes, int]:
    """The image's bytes and, if `hashed`, its perceptual hash. Raises CallFailed."""
    try:
        return path.read_bytes(), perceptual_hash(path) if hashed else 0
    except OSError as error:
        raise CallFailed(f"cannot be read: {error.strerror or 'not an image'}") from error
