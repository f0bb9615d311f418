"""The Azure Cosmos DB sink: a video's document and its scenes' items, under one partition key.

    {"id": "video", "kind": "video", "video_id": …, "generation": …, …the document}
    {"id": "GENERATION-000012", "kind": "scene", "video_id": …, "generation": …, …the record}

A video that fits into one transaction (100 operations, 2 MB) changes at once. A longer one is
written beside its old generation, then the document names the new one, then the old items go: who
reads the scenes of the generation that the document names never finds a mixture, and `read` does
so.
"""

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

from engine import Permanent, StopRun, Throttled, Transient, UsageError
from stages.sinks.cosmos_batches import ItemTooLarge, Operation, batches
from stages.sinks.sink import Record, VideoRecords

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

VIDEO = "video"
"""The id of the document in its partition."""

PAGE = 100
"""Items of a page, at most, when reading."""

RETRIES = 9
"""Times that the client asks again by itself when it is told to slow down, as it does by default;
the engine's patience comes after that."""


class CosmosSink:
    """Scenes in a container of Azure Cosmos DB; a `Sink`. The database and the container are made
    if they are missing."""

    def __init__(self, url: str, key_name: str, database: str, container: str) -> None:
        """Raises UsageError where the extra or the key is missing, StopRun where the server does
        not let us in, Transient where it does not answer."""
        try:
            from azure.cosmos.aio import CosmosClient
        except ImportError:
            raise UsageError(
                "the Cosmos DB sink needs azure-cosmos: pip install 'penstock[cosmos]', or leave "
                '"cosmos" out of stages.persist.sinks'
            ) from None
        key = os.environ.get(key_name, "").strip()
        if not key:
            raise UsageError(
                f"{url} needs a key: put it into the environment variable {key_name}, or leave "
                '"cosmos" out of stages.persist.sinks'
            )
        self.host = urlsplit(url).netloc
        self._opened = ExitStack()
        self._portal = self._opened.enter_context(start_blocking_portal())
        try:
            self._portal.call(self._connect, CosmosClient, url, key, database, container)
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> "CosmosSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._portal.call(self._client.close)
        self._opened.close()

    def write(self, records: VideoRecords) -> None:
        self._portal.call(self._write, records)

    def remove(self, video: str) -> bool:
        return self._portal.call(self._remove, video)

    def generations(self) -> Mapping[str, str]:
        return self._portal.call(self._generations)

    def read(self, video: str) -> list[dict[str, Any]]:
        """The scenes' items of the video, in order, read page by page; [] where it is not there."""
        return self._portal.call(self._read, video)

    async def _connect(
        self, client: "type[CosmosClient]", url: str, key: str, database: str, container: str
    ) -> None:
        from azure.cosmos import PartitionKey

        self._client = client(
            url,
            credential=key,
            retry_throttle_total=RETRIES,
            enable_endpoint_discovery=False,
        )
        try:
            with self._explained():
                made = await self._client.create_database_if_not_exists(database)
                self._container: ContainerProxy = await made.create_container_if_not_exists(
                    container, PartitionKey("/video_id")
                )
        except BaseException:
            await self._client.close()
            raise

    async def _write(self, records: VideoRecords) -> None:
        there = {item["id"]: item["generation"] async for item in self._ids(records.video)}
        items = [_scene(records, record) for record in records.scenes]
        old = there.keys() - {VIDEO} - {item["id"] for item in items}
        if there.get(VIDEO) == records.generation and not old and len(there) == len(items) + 1:
            return
        new: list[Operation] = [("upsert", (item,)) for item in items if item["id"] not in there]
        new.append(("upsert", (_document(records),)))
        await self._send(records.video, [*new, *(("delete", (id_,)) for id_ in sorted(old))])

    async def _remove(self, video: str) -> bool:
        there = [item["id"] async for item in self._ids(video)]
        there.sort(key=lambda id_: id_ != VIDEO)  # the document first: then the video is not there
        await self._send(video, [("delete", (id_,)) for id_ in there])
        return VIDEO in there

    async def _send(self, video: str, operations: list[Operation]) -> None:
        try:
            for batch in batches(operations):
                with self._explained():
                    await self._container.execute_item_batch(batch, partition_key=video)
        except ItemTooLarge as error:
            raise Permanent(f"{video}: {error}", kind="too_large") from error

    async def _ids(self, video: str) -> AsyncIterator[dict[str, Any]]:
        async for item in self._query("SELECT c.id, c.generation FROM c", video):
            yield item

    async def _read(self, video: str) -> list[dict[str, Any]]:
        found = [item async for item in self._query("SELECT * FROM c", video)]
        current = [item["generation"] for item in found if item["id"] == VIDEO]
        scenes = [
            item for item in found if item["kind"] == "scene" and item["generation"] in current
        ]
        return sorted(scenes, key=lambda item: int(item["index"]))

    async def _generations(self) -> dict[str, str]:
        query = "SELECT c.video_id, c.generation FROM c WHERE c.kind = 'video'"
        with self._explained():
            pages = self._container.query_items(query, max_item_count=PAGE)
            return {item["video_id"]: item["generation"] async for item in pages}

    async def _query(self, select: str, video: str) -> AsyncIterator[dict[str, Any]]:
        with self._explained():
            async for item in self._container.query_items(
                f"{select} WHERE c.video_id = @video",
                parameters=[{"name": "@video", "value": video}],
                partition_key=video,
                max_item_count=PAGE,
            ):
                yield item

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the client's errors into the endings of a stage."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            yield
        except HttpResponseError as error:
            self._refused(error)
        except AzureError as error:
            told = " ".join(str(error).split())[:300]
            raise Transient(f"{self.host} does not answer: {told}", kind="cosmos") from error

    def _refused(self, error: Any) -> NoReturn:
        status = int(error.status_code or 0)
        responses = getattr(error, "operation_responses", None) or ()
        statuses = {status, *(int(one.get("statusCode", 0)) for one in responses)}
        told = " ".join(str(error.message).split())[:300]
        if 429 in statuses:
            wait = (getattr(error, "headers", None) or {}).get("x-ms-retry-after-ms")
            after = float(wait) / 1000 if wait else None
            raise Throttled(
                f"{self.host}: more requests than it is provisioned for", after=after, key=self.host
            ) from error
        if status in (401, 403):
            raise StopRun(f"{self.host} does not let us in ({status}); check the key") from error
        if status in (400, 413):
            raise Permanent(f"{self.host} refuses the items ({status}: {told})", kind="cosmos")
        raise Transient(f"{self.host} failed ({status}: {told})", kind="cosmos") from error


def _scene(records: VideoRecords, record: Record) -> dict[str, Any]:
    id_ = f"{records.generation}-{record['index']:06}"
    return _item(records, record, id_, "scene")


def _document(records: VideoRecords) -> dict[str, Any]:
    return _item(records, records.document, VIDEO, "video")


def _item(records: VideoRecords, content: Record, id_: str, kind: str) -> dict[str, Any]:
    mark = {"video_id": records.video, "generation": records.generation, "kind": kind, "id": id_}
    # Lone surrogates, which JSON's escapes let through, are no text to the service.
    text = json.dumps({**content, **mark}, ensure_ascii=False).encode("utf-8", "replace")
    item: dict[str, Any] = json.loads(text)
    return item
