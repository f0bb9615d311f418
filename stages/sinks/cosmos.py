"""The Azure Cosmos DB sink: a video's document and its scenes' items, under one partition key.

    {"id": "video", "kind": "video", "video_id": …, "generation": …, …the document}
    {"id": "GENERATION-000012", "kind": "scene", "video_id": …, "generation": …, …the record}
    {"id": "video", "kind": "gone", "video_id": …, "generation": "TURN."}, where it was taken out
    {"id": "turns", "kind": "turns", "video_id": "penstock turns", "given": the last turn}

GENERATION has the turn of the write before the hash of the records, TURN.HASH: so those of two
writers never have the same. A video that fits into one transaction (100 operations, 2 MB) changes
at once. A longer one is written beside its old generation, then the document names the new one,
then the items of lower turns go: who reads the scenes of the generation that the document names
never finds a mixture; nor too few where the document names the same generation afterwards, as
`read` makes sure. The document is put only in the place of the one that was
seen: of two writers at once the higher turn stands.
"""

import json
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

from engine import Permanent, StopRun, Throttled, Transient, UsageError
from stages.sinks.cosmos_batches import ItemTooLarge, Operation, batches
from stages.sinks.sink import Record, VideoRecords, WrittenVideo, next_turn

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

VIDEO = "video"
"""The id of the document in its partition."""

TURNS = "turns"
TURNS_OF = "penstock turns"
"""The id and the partition of the item with the last turn that was given: no video's id has a
blank."""

CHANGED = frozenset({404, 409, 412})
"""Statuses of what another writer has made, changed or deleted since it was looked at."""

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

    def begin(self) -> int:
        return self._portal.call(self._begin)

    def write(self, records: VideoRecords, turn: int | None = None) -> bool:
        return self._portal.call(self._write, records, turn)

    def remove(self, video: str, turns: Collection[int] | None = None) -> bool:
        return self._portal.call(self._remove, video, turns)

    def written(self) -> Mapping[str, WrittenVideo]:
        return self._portal.call(self._written)

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

    async def _begin(self) -> int:
        while True:
            query = "SELECT c.id, c.given, c._etag FROM c"
            found = [item async for item in self._query(query, TURNS_OF)]
            turn = next_turn(found[0]["given"] if found else 0)
            item = {"id": TURNS, "kind": TURNS, "video_id": TURNS_OF, "given": turn}
            if await self._send(TURNS_OF, [_in_the_place_of(found[0] if found else None, item)]):
                return turn

    async def _write(self, records: VideoRecords, turn: int | None) -> bool:
        turn = turn if turn is not None else await self._begin()
        generation = f"{turn}.{records.generation}"
        items = [_scene(records, generation, record) for record in records.scenes]
        mine = {item["id"] for item in items}
        while True:
            there = {item["id"]: item async for item in self._ids(records.video)}
            document = there.pop(VIDEO, None)
            now = _told(document) if document is not None else WrittenVideo("", -1)
            if now.turn > turn:  # somebody later has it: nothing of this write is to stay
                await self._delete(records.video, mine & there.keys())
                return False
            if now.generation == records.generation and document is not None:
                whole = [
                    one for one in there.values() if one["generation"] == document["generation"]
                ]
                if len(whole) == len(items):
                    await self._delete(records.video, _older(there, now.turn))
                    return True
            new: list[Operation] = [("upsert", (one,)) for one in items if one["id"] not in there]
            new.append(_in_the_place_of(document, _document(records, generation)))
            old = sorted(_older(there, turn))
            if await self._send(records.video, [*new, *(("delete", (id_,)) for id_ in old)]):
                return True

    async def _remove(self, video: str, turns: Collection[int] | None) -> bool:
        own = await self._begin() if turns is None else None
        while True:
            there = {item["id"]: item async for item in self._ids(video)}
            document = there.pop(VIDEO, None)
            is_there = document is not None and document["kind"] == "video"
            turn = _told(document).turn if document is not None else -1
            if own is not None and turn > own:  # somebody later has put it there, or taken it out
                return False
            if own is None and not (is_there and turn in (turns or ())):
                return False
            turn = own if own is not None else turn
            mark = {"id": VIDEO, "kind": "gone", "video_id": video, "generation": f"{turn}."}
            # The mark first: then the video is not there. What a later writer has begun stays.
            old = sorted(_older(there, turn + 1))
            operations = [_in_the_place_of(document, mark), *(("delete", (id_,)) for id_ in old)]
            if await self._send(video, operations):
                return is_there

    async def _delete(self, video: str, ids: Collection[str]) -> None:
        await self._send(video, [("delete", (id_,)) for id_ in sorted(ids)])

    async def _send(self, video: str, operations: list[Operation]) -> bool:
        """False where another writer has changed meanwhile what these are about: look again."""
        try:
            for batch in batches(operations):
                with self._explained():
                    await self._container.execute_item_batch(batch, partition_key=video)
        except ItemTooLarge as error:
            raise Permanent(f"{video}: {error}", kind="too_large") from error
        except _OthersWereQuicker:
            return False
        return True

    async def _ids(self, video: str) -> AsyncIterator[dict[str, Any]]:
        async for item in self._query("SELECT c.id, c.kind, c.generation, c._etag FROM c", video):
            yield item

    async def _read(self, video: str) -> list[dict[str, Any]]:
        while True:
            found = [item async for item in self._query("SELECT * FROM c", video)]
            current = [item["generation"] for item in found if item["id"] == VIDEO]
            now = [item["generation"] async for item in self._ids(video) if item["id"] == VIDEO]
            if now != current:  # between two pages its scenes may have been taken out
                continue
            scenes = [one for one in found if one["kind"] == "scene" and one["generation"] in now]
            return sorted(scenes, key=lambda item: int(item["index"]))

    async def _written(self) -> dict[str, WrittenVideo]:
        query = "SELECT c.video_id, c.generation FROM c WHERE c.kind = 'video'"
        with self._explained():
            pages = self._container.query_items(query, max_item_count=PAGE)
            return {item["video_id"]: _told(item) async for item in pages}

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
        if statuses & CHANGED and responses:
            raise _OthersWereQuicker from error
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


class _OthersWereQuicker(Exception):
    """Another writer has changed what a batch is about."""


def _told(item: Mapping[str, Any]) -> WrittenVideo:
    """What an item's generation says; one without a turn was written before there were any."""
    turn, _, generation = item["generation"].rpartition(".")
    return WrittenVideo(generation, int(turn or 0))


def _older(items: Mapping[str, Mapping[str, Any]], turn: int) -> set[str]:
    """The ids of those that were written in lower turns."""
    return {id_ for id_, item in items.items() if _told(item).turn < turn}


def _in_the_place_of(there: Mapping[str, Any] | None, item: dict[str, Any]) -> Operation:
    """Puts the item there if there still is what was seen."""
    if there is None:
        return "create", (item,)
    return "replace", (item["id"], item), {"if_match_etag": there["_etag"]}


def _scene(records: VideoRecords, generation: str, record: Record) -> dict[str, Any]:
    id_ = f"{generation}-{record['index']:06}"
    return _item(records, generation, record, id_, "scene")


def _document(records: VideoRecords, generation: str) -> dict[str, Any]:
    return _item(records, generation, records.document, VIDEO, "video")


def _item(
    records: VideoRecords, generation: str, content: Record, id_: str, kind: str
) -> dict[str, Any]:
    mark = {"video_id": records.video, "generation": generation, "kind": kind, "id": id_}
    # Lone surrogates, which JSON's escapes let through, are no text to the service.
    text = json.dumps({**content, **mark}, ensure_ascii=False).encode("utf-8", "replace")
    item: dict[str, Any] = json.loads(text)
    return item
