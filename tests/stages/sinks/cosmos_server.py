"""A stand-in for Azure Cosmos DB with the limits that are documented for batches.

One container, held in memory. It answers what the sink asks: the account, the container, queries of
one partition or of all, page by page, and transactional batches: at most 100 operations and 2 MB,
all or nothing. `throttle` answers that many requests with 429, as a container does that is
provisioned for less. It does not look at keys, and reads of a query no more than its shape.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from stages.sinks.cosmos import TURNS_OF
from tests.threaded_server import serving_requests

MOST_OPERATIONS = 100
MOST_BYTES = 2 << 20


class CosmosServer(ThreadingHTTPServer):
    """`items` by partition and id; `batches` are the numbers of operations of those that were
    applied, but for the turns of writers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.items: dict[str, dict[str, dict[str, Any]]] = {}
        self.batches: list[int] = []
        self._numbers = count(1)
        self.one_at_a_time = threading.Lock()
        self.largest_page = 0
        self.throttle = 0
        self.die_after: int | None = None
        """Batches after which every other is answered 403, as after a key was changed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def apply(self, video: str, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All of the operations, or none: as the service does, which names the one at fault."""
        new = dict(self.items.get(video, {}))
        for place, one in enumerate(operations):
            status = self._apply(new, video, one)
            if status >= 400:
                failed = [{"statusCode": 424} for _ in operations]
                failed[place] = {"statusCode": status}
                return failed
        self.items[video] = new
        if video != TURNS_OF:
            self.batches.append(len(operations))
        return [{"statusCode": 200} for _ in operations]

    def _apply(self, new: dict[str, dict[str, Any]], video: str, one: dict[str, Any]) -> int:
        body, kind = one.get("resourceBody", {}), one["operationType"]
        id_ = one.get("id") or body["id"]
        there = new.get(id_)
        if kind == "Create" and there is not None:
            return 409
        if kind in ("Replace", "Delete"):
            if there is None:
                return 404
            if one.get("ifMatch", there["_etag"]) != there["_etag"]:
                return 412
        if kind == "Delete":
            del new[id_]
        elif body["video_id"] == video:
            number = next(self._numbers)
            rid = there["_rid"] if there is not None else number
            new[id_] = {**body, "_rid": rid, "_etag": f'"{number}"'}
        return 200


@contextmanager
def cosmos_server() -> Iterator[CosmosServer]:
    with serving_requests(CosmosServer()) as server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: CosmosServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = [part for part in self.path.split("/") if part]
        if place[-1:] == ["pkranges"]:
            ranges = [{"id": "0", "minInclusive": "", "maxExclusive": "FF"}]
            self._answer(200, {"_rid": "r", "PartitionKeyRanges": ranges, "_count": 1})
        elif len(place) >= 2:
            key = {"paths": ["/video_id"], "kind": "Hash", "version": 2}
            self._answer(200, {"id": place[-1], "_rid": "r", "_self": "s", "partitionKey": key})
        else:
            where = [{"name": "here", "databaseAccountEndpoint": self.server.url}]
            policy = {"defaultConsistencyLevel": "Session"}
            whole = {"id": "a", "writableLocations": where, "readableLocations": where}
            self._answer(200, {**whole, "userConsistencyPolicy": policy})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.throttle:
            self.server.throttle -= 1
            self._answer(429, {"code": "429"}, {"x-ms-retry-after-ms": "200"})
        elif self.headers.get("x-ms-cosmos-is-batch-request"):
            self._batch(raw)
        else:
            self._query(json.loads(raw))

    def _batch(self, raw: bytes) -> None:
        operations = json.loads(raw)
        if self.server.die_after is not None and len(self.server.batches) >= self.server.die_after:
            self._answer(403, {"code": "Forbidden"})
        elif len(operations) > MOST_OPERATIONS:
            self._answer(
                400, {"message": "Batch request has more operations than what is supported"}
            )
        elif len(raw) > MOST_BYTES:
            self._answer(413, {"message": "Request size is too large"})
        else:
            [video] = json.loads(self.headers["x-ms-documentdb-partitionkey"])
            with self.server.one_at_a_time:
                results = self.server.apply(video, operations)
            failed = any(one["statusCode"] >= 400 for one in results)
            self._answer(207 if failed else 200, results)

    def _query(self, query: dict[str, Any]) -> None:
        values = {one["name"]: one["value"] for one in query.get("parameters", ())}
        if "@video" in values:
            found = list(self.server.items.get(values["@video"], {}).values())
        else:
            every = [item for items in self.server.items.values() for item in items.values()]
            found = [item for item in every if item["kind"] == "video"]
        first = int(self.headers.get("x-ms-continuation") or 0)
        most = int(self.headers.get("x-ms-max-item-count") or 100)
        found = sorted((one for one in found if one["_rid"] > first), key=lambda one: one["_rid"])
        page = found[:most]
        self.server.largest_page = max(self.server.largest_page, len(page))
        more = {"x-ms-continuation": str(page[-1]["_rid"])} if len(page) < len(found) else {}
        self._answer(200, {"_rid": "r", "Documents": page, "_count": len(page)}, more)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass
