"""The publish stage: an item's result goes into an object store, and what comes out is a link."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel

from engine import Item, Permanent, Skip, Stage, setting, shown, writable
from stages.files.folders import INFO, files_below
from stages.publishing.records import PUBLISHED, read_published, records_of_output
from stages.publishing.result_file import ResultWriter
from stages.store.bucket import Bucket, Content
from stages.store.settings import UploadSettings
from stages.store.upload import content_of

RESULT = "result.json"

VIDEO, SUMMARY = "video.json", "summary.json"
"""What a crawl knows of a video, beside its frames; and what a video is in short."""

FACTS = ("title", "uploader", "duration", "upload_date", "webpage_url", "license")
"""What a result takes from a video's info.json."""

AT_ONCE = 16
"""Files of all items that are looked for, or sent, at once."""

BATCH = 256
"""Links that are in memory together."""

QUIET = ("dry_run", "preview")
"""Settings of any step with which nothing leaves this machine."""


class Publish(Stage):
    """Put all that has come of an item into an object store, as one JSON file.

    Of `records` it reads the records' file, the files that these name, and info.json or video.json;
    of `summary`, where there is one, summary.json. Each file is put there once, under a name made
    of its content, and so is the result, which has the records, and links to those files. It writes
    publish.json: {url, expires, address, key, size, sha256, records, files, sent}. Where no store
    is set it is off: no part of the run.
    """

    inputs = "records"
    optional_inputs = "summary"
    defaults: ClassVar[dict[str, Any]] = {"workers": 8}
    keeps_inputs = True

    class Settings(UploadSettings):
        url: str | None = setting(
            None,
            "Where results are put: s3://BUCKET/FOLDER, gs://… or az://ACCOUNT/CONTAINER/FOLDER; "
            "none: nowhere. Keys come from the environment.",
            needs_trust=True,
            example="s3://videos/results",
        )
        files: Literal["all", "pictures", "none"] = setting(
            "all",
            'Files beside the records that are put there too: "all", "pictures" or "none".',
        )

    settings: "Publish.Settings"
    _bucket: Bucket | None = None

    @classmethod
    def is_off(cls, settings: "Publish.Settings") -> bool:
        return settings.url is None

    async def open(self) -> None:
        """Raises UsageError where the store cannot be used as it is set."""
        if self.settings.url is not None:
            self._bucket = Bucket(self.settings)
            self._at_once = anyio.Semaphore(AT_ONCE)

    async def process(self, item: Item, out: Path) -> None:
        bucket = self._bucket
        if bucket is None:
            raise Skip("no object store is set (stages.publish.url)", kind="no_store")
        source, marks = item.input("records"), item.partial(self.name)
        records = await run_sync(records_of_output, source)
        if records is None:
            raise Permanent(f"{source.name} has left no records to publish", kind="no_records")
        await bucket.end_left(marks / RESULT)
        facts = await run_sync(self._facts, item, source)
        links = _Links()
        with closing(await run_sync(ResultWriter, out / RESULT, facts)) as file:
            coming = _batches(self._files(source, records))
            while some := await run_sync(next, coming, None):
                put = await self._put_all(bucket, some, marks, links)
                await run_sync(file.add_files, put)
            count = await run_sync(file.end, links.expires, records)
        files, content = links.count, await run_sync(content_of, out / RESULT)
        (marks / RESULT).mkdir(exist_ok=True)
        url = await self._put(bucket, content, marks / RESULT, links)
        (out / RESULT).unlink()
        told = {
            "url": url,
            "expires": links.expires,
            "address": bucket.place.address(content.key),
            "key": bucket.place.path(content.key),
            "size": content.size,
            "sha256": content.sha256,
            "records": count,
            "files": files,
            "sent": links.sent,
        }
        (out / PUBLISHED).write_text(json.dumps(told, indent=2) + "\n")

    def _facts(self, item: Item, source: Path) -> dict[str, Any]:
        info = _read(source / INFO)
        about = {name: info.get(name) for name in FACTS} if info else _read(source / VIDEO)
        summary = _read(item.input("summary") / SUMMARY) if item.has_input("summary") else {}
        # A path is of this machine alone.
        address = shown(item.source) if item.source.startswith(("http:", "https:")) else None
        return {"item": item.id, "source": address, "about": about, "summary": summary or None}

    def _files(self, source: Path, records: Path) -> Iterator[tuple[str, Path]]:
        if self.settings.files == "none":
            return
        for name, path in files_below(source):
            is_picture = path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
            if path != records and name != INFO and (is_picture or self.settings.files == "all"):
                yield writable(name), path

    async def _put_all(
        self, bucket: Bucket, files: Sequence[tuple[str, Path]], marks: Path, links: "_Links"
    ) -> list[tuple[str, dict[str, Any]]]:
        """Put these files there, side by side; what is told of each, in order."""
        found: dict[str, dict[str, Any]] = {}

        async def put(name: str, path: Path) -> None:
            async with self._at_once:
                content = await run_sync(content_of, path)
                url = await self._put(bucket, content, marks, links)
            found[name] = {"url": url, "size": content.size}

        async with anyio.create_task_group() as tasks:
            for name, path in files:
                tasks.start_soon(put, name, path)
        return [(name, found[name]) for name, _ in files]

    async def _put(self, bucket: Bucket, content: Content, marks: Path, links: "_Links") -> str:
        since = None
        if self.settings.public_url is None:
            # What is as old may be deleted before a new link to it expires.
            since = datetime.now(UTC) - timedelta(days=self.settings.link_days)
        stored = await bucket.put(content, marks / content.key, since=since)
        url, expires = await bucket.link(content.key)
        links.note(expires, stored.sent)
        return url

    async def close(self) -> None:
        if self._bucket is not None:
            self._bucket.close()

    def gate(self, item: Item) -> str | None:
        """The store's host."""
        return self.settings.host

    def has_expired(self, output: Path) -> bool:
        """Whether less than half of the time is left in which links hold."""
        told = read_published(output)
        if told is None or told["expires"] is None:
            return told is None
        left = datetime.fromisoformat(told["expires"]) - datetime.now(UTC)
        return left < timedelta(days=self.settings.link_days) / 2


class _Links:
    """The links of one result: their number, when the first one expires, None for never, and the
    bytes that were sent for them."""

    def __init__(self) -> None:
        self.count = self.sent = 0
        self.expires: str | None = None

    def note(self, expires: str | None, sent: int) -> None:
        self.count += 1
        self.sent += sent
        # All are in the same zone and form.
        if expires is not None and (self.expires is None or expires < self.expires):
            self.expires = expires


def resolve_publish(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Publish nothing where a step makes a dry run, or a preview."""
    if not any(getattr(one, name, False) for one in settings.values() for name in QUIET):
        return settings
    quiet = settings[Publish.name].model_copy(update={"url": None})
    return settings | {Publish.name: quiet}


def _read(path: Path) -> Mapping[str, Any]:
    """The object in this file, {} where it is not there."""
    if not path.is_file():
        return {}
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _batches(files: Iterator[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    while some := list(islice(files, BATCH)):
        yield some
