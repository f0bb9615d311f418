"""`Bucket`: an object store behind a small interface: is it there, put it there, a link to it."""

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from anyio.to_thread import run_sync

from engine import Loan, Permanent, Transient, UsageError
from stages.store.clock import check_clock
from stages.store.line import Line, share_line
from stages.store.place import StorePlace
from stages.store.problems import ending_of, is_unknown
from stages.store.settings import KEYS, UploadSettings, read_keys
from stages.store.unfinished import end_unfinished

logger = logging.getLogger("penstock.store")

PIECE = 6_000_000
"""Bytes of a piece of a large file. A file of this size or more is put in pieces: Supabase advises
so, and S3 takes no smaller ones than 5 MiB."""

IN_FLIGHT = 2
"""Pieces of one file on their way at once: one more is in hand, so a file takes 18 MB of memory."""

CLEANING_SECONDS = 10.0
"""What ending an old upload may take: it is no reason to fail."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it is to be put: its key, which follows from its bytes, their number and hash."""

    file: Path
    key: str
    size: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is there: the server's name for it, and the bytes that were sent, 0 if it was
    there before."""

    etag: str | None
    sent: int


class Bucket:
    """One folder of one bucket, open until `close`. Errors are the endings of a stage."""

    def __init__(self, settings: UploadSettings, *, first: bool = False) -> None:
        """Its files go `first` on the line to the store, or after those that do. Call it on the
        run's event loop. Raises UsageError where the extra or a key is missing or cannot be
        used."""
        assert settings.url is not None
        self._first = first
        self._settings = settings
        self.place = StorePlace.of(settings.url)
        self.host = self.place.host(settings.endpoint, settings.region)
        self._keys = read_keys(self.place)
        self._store = _opened(self.place, settings, self._keys)
        self._loan: Loan[Line] = share_line(f"{self.host} {self.place.bucket}", settings.streams)
        self._line = self._loan.thing
        self._conditional = True
        """Whether the server is thought to know put-if-absent."""

    def close(self) -> None:
        self._loan.give_back()

    async def put(self, content: Content, mark: Path, since: datetime | None = None) -> Stored:
        """Have the file there, whole. Nothing is sent if it is there, since this time where one is
        given: an older one is put anew, for a rule of the bucket may delete it soon.

        `mark` is a file that is there while an upload in pieces is: where an attempt that was
        killed left it, the pieces that it left are ended first.
        """
        try:
            return await self._put(content, mark, since)
        except Permanent as error:
            if error.kind == "store_key":
                await check_clock(self._settings.endpoint or f"https://{self.host}", self.host)
            raise

    async def _put(self, content: Content, mark: Path, since: datetime | None) -> Stored:
        async with self._line.alone_with(content.key):
            there = await self._look(content, since)
            if there is not None:
                return there
            if content.size < PIECE:
                return await self._put_small(content, since)
            if await run_sync(mark.exists):
                await self._end_unfinished(content.key)
            await run_sync(mark.touch)
            stored = await self._put_pieces(content)
            await run_sync(mark.unlink)
            return stored

    async def link(self, key: str) -> tuple[str, str | None]:
        """An address to read it by, and when that expires: None for never."""
        if self._settings.public_url is not None:
            return f"{self._settings.public_url}/{key}", None
        import obstore

        lasts = timedelta(days=self._settings.link_days)
        ends = datetime.now(UTC) + lasts
        with self._explained():
            url: str = await obstore.sign_async(self._store, "GET", key, lasts)
        return url, ends.isoformat(timespec="seconds")

    async def end_left(self, marks: Path) -> None:
        """End what killed attempts have left of uploads with marks in this folder, and that nobody
        will go on with."""
        for mark in await run_sync(lambda: list(marks.iterdir()) if marks.is_dir() else []):
            await self._end_unfinished(mark.name)
            await run_sync(mark.unlink)

    async def _look(self, content: Content, since: datetime | None) -> Stored | None:
        """What is there under this key, since then; None where nothing is, or something of another
        size."""
        import obstore

        try:
            with self._explained():
                found = await obstore.head_async(self._store, content.key)
        except FileNotFoundError:  # or there is no bucket, which putting it will tell
            return None
        is_old = since is not None and found["last_modified"] < since
        return Stored(found["e_tag"], 0) if found["size"] == content.size and not is_old else None

    async def _put_small(self, content: Content, since: datetime | None) -> Stored:
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        data = await run_sync(content.file.read_bytes)
        if hashlib.sha256(data).hexdigest() != content.sha256:
            raise _changed(content)
        async with self._line.turn(first=self._first):
            if self._conditional:
                try:
                    return await self._send(content, data, mode="create")
                except AlreadyExistsError:  # from elsewhere, since we looked
                    there = await self._look(content, since)
                    return there or await self._send(content, data)
                except NotSupportedError:
                    self._conditional = False
            return await self._send(content, data)

    async def _put_pieces(self, content: Content) -> Stored:
        pieces = _Pieces(content, self._line, self._first)
        try:
            return await self._send(
                content,
                pieces.read(),
                use_multipart=True,
                chunk_size=PIECE,
                max_concurrency=IN_FLIGHT,
            )
        finally:
            pieces.close()

    async def _send(self, content: Content, data: Any, **how: Any) -> Stored:
        import obstore

        kind = {"Content-Type": content.media_type}
        with self._explained(missing=True, conditional="mode" in how):
            made = await obstore.put_async(self._store, content.key, data, attributes=kind, **how)
        return Stored(made["e_tag"], content.size)

    async def _end_unfinished(self, key: str) -> None:
        if self.place.kind != "s3":
            return
        import httpx

        server = self._settings.endpoint or f"https://{self.host}"
        try:
            with anyio.fail_after(CLEANING_SECONDS):
                count = await end_unfinished(
                    self.place, key, server=server, region=self._settings.region, keys=self._keys
                )
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            logger.warning(
                "%s: what a killed run left of an upload could not be ended (%s); a rule of the "
                "bucket can do that",
                self.place.address(key),
                type(error).__name__,
            )
        else:
            logger.info("%s: ended %d unfinished uploads", self.place.address(key), count)

    @contextmanager
    def _explained(self, *, missing: bool = False, conditional: bool = False) -> Iterator[None]:
        """Turns the client's errors into endings, but for what the caller may want to know. With
        `missing` what is not there is an error too: it can only be the bucket."""
        from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError

        try:
            yield
        except (AlreadyExistsError, NotSupportedError):
            raise
        except FileNotFoundError as error:
            if not missing and "NoSuchBucket" not in str(error):
                raise
            raise ending_of(error, self.place, self.host) from None
        except BaseError as error:
            if conditional and is_unknown(error):
                raise NotSupportedError("the server knows no such request") from None
            # The client's own text has whole answers in it: the ending says what matters of it.
            raise ending_of(error, self.place, self.host) from None


class _Pieces:
    """A large file's pieces, in order; a turn on the line for each."""

    def __init__(self, content: Content, line: Line, first: bool) -> None:
        self._content = content
        self._line = line
        self._first = first
        self._inside = False
        self._closed = False

    async def read(self) -> AsyncIterator[bytes]:
        """The client asks for the next piece when it has room: then the one before is on its way.
        Nothing becomes visible unless all of them are the file that was hashed."""
        digest = hashlib.sha256()
        with await run_sync(self._content.file.open, "rb") as file:
            while piece := await self._next(file):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != self._content.sha256:
            raise _changed(self._content)

    async def _next(self, file: BinaryIO) -> bytes:
        self._leave()
        piece = await run_sync(file.read, PIECE)
        await self._line.enter(first=self._first)
        self._inside = True
        if self._closed:  # the upload was cancelled meanwhile
            self._leave()
            return b""
        return piece

    def close(self) -> None:
        self._closed = True
        self._leave()

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self._line.leave()


def _changed(content: Content) -> Transient:
    return Transient(f"{content.file.name} changed while it was uploaded", kind="changed")


def _opened(place: StorePlace, settings: UploadSettings, keys: dict[str, str]) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise UsageError(
            "uploads need obstore: pip install 'penstock[store]', or leave `url` unset"
        ) from None
    options: dict[str, Any] = {
        "prefix": place.folder or None,
        "client_options": {
            "allow_http": (settings.endpoint or "").startswith("http:"),
            "timeout": timedelta(seconds=settings.request_timeout),
            "connect_timeout": timedelta(seconds=min(10.0, settings.request_timeout)),
        },
        "retry_config": {
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=settings.request_timeout),
            "backoff": {
                "init_backoff": timedelta(seconds=0.2),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
        **keys,
    }
    if settings.endpoint is not None:
        options["base_url" if place.kind == "gs" else "endpoint"] = settings.endpoint
    try:
        if place.kind == "s3":
            return S3Store(
                place.bucket,
                region=settings.region,
                virtual_hosted_style_request=False,
                **options,
            )
        if place.kind == "az":
            return AzureStore(place.bucket, account_name=place.account, **options)
        return GCSStore(place.bucket, **options)
    except (BaseError, ValueError) as error:
        told = re.sub("^Generic [A-Za-z0-9]+ error: ", "", str(error).partition("\n")[0])
        variables = " and ".join(KEYS[place.kind].values())
        raise UsageError(
            f"{place.address('')} cannot be opened: {told}; check {variables}"
        ) from None
