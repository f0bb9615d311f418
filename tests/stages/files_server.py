"""A server that takes questions about files as Gemini's does: the Files API with its documented
limits, and requests that name a file, or hold one of up to 20 MB."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.stages.vision_server import Request, spoken
from tests.threaded_server import QuietHandler, serving_requests

GRANULARITY = 256 * 1024
MOST_OF_REQUEST = 20_000_000
MOST_OF_FILE = 2_000_000_000

Fault = Callable[[str, int], int]
"""The status to answer with in place of doing it, 0 for none, or -1 to close the connection, by
what is done ("start", "upload", "query", "get", "delete", "ask") and how often it was before."""


@dataclass
class Held:
    """A file, or one that is being sent."""

    mime: str
    size: int
    content: bytearray = field(default_factory=bytearray)
    looks: int = 0
    """How often it was looked at since it was whole."""


class FilesServer(ThreadingHTTPServer):
    """A file is processed from the `looks`th look at it on; a `state` other than ACTIVE is what it
    then has. Everything but the pieces of a file has to show the `key`. These go to `sends_to`, or
    else here."""

    daemon_threads = True

    def __init__(
        self,
        says: Callable[[Request], str],
        key: str = "",
        looks: int = 1,
        state: str = "ACTIVE",
        fault: Fault = lambda what, before: 0,
        sends_to: str = "",
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.key, self.looks, self.state, self.fault = says, key, looks, state, fault
        self.sends_to = sends_to or self.origin
        self.lock = threading.Lock()
        self.sessions: dict[str, Held] = {}
        self.files: dict[str, Held] = {}
        self.done: list[str] = []
        """What was done, in order, refused or not."""
        self.watched: list[bytes] = []
        """The files that were asked about."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are part of the tests."""


@contextmanager
def holding_files(says: Callable[[Request], str], **options: Any) -> Iterator[FilesServer]:
    server = FilesServer(says, **options)
    with serving_requests(server):
        yield server


class _Handler(QuietHandler):
    server: FilesServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        command = self.headers["X-Goog-Upload-Command"] or ""
        if self.path == "/upload/v1beta/files" and command == "start":
            self._do("start", content, self._start)
        elif self.path.startswith("/session/"):
            what = "query" if command == "query" else "upload"
            self._do(what, content, self._piece, open_to_all=True)
        elif self.path.endswith(":generateContent"):
            self._do("ask", content, self._ask)
        else:
            self._say(404, {"error": {"message": "no such address", "status": "NOT_FOUND"}})

    def do_GET(self) -> None:
        self._do("get", b"", self._look)

    def do_DELETE(self) -> None:
        self._do("delete", b"", self._delete)

    def _do(
        self, what: str, content: bytes, work: Callable[[bytes], None], *, open_to_all: bool = False
    ) -> None:
        server = self.server
        with server.lock:
            before = server.done.count(what)
            server.done.append(what)
            shown = self.headers["x-goog-api-key"]
            assert not (open_to_all and shown), "a session's address needs no key"
            status = server.fault(what, before)
            if status < 0:
                self.close_connection = True
            elif status:
                self._refuse(status, f"says the server with {status}, shown {shown}")
            elif server.key and shown != server.key and not open_to_all:
                self._refuse(403, f"not with the key {shown}")
            else:
                work(content)

    def _start(self, content: bytes) -> None:
        size = int(self.headers["X-Goog-Upload-Header-Content-Length"])
        assert self.headers["X-Goog-Upload-Protocol"] == "resumable"
        assert json.loads(content)["file"]["display_name"]
        if size > MOST_OF_FILE:
            return self._refuse(400, "the file is too large")
        path = f"/session/{len(self.server.sessions)}"
        mime = self.headers["X-Goog-Upload-Header-Content-Type"]
        self.server.sessions[path] = Held(mime, size)
        told = {
            "X-Goog-Upload-URL": f"{self.server.sends_to}{path}",
            "X-Goog-Upload-Status": "active",
        }
        return self._say(200, {}, **told)

    def _piece(self, content: bytes) -> None:
        held = self.server.sessions[self.path]
        command = self.headers["X-Goog-Upload-Command"]
        received = {"X-Goog-Upload-Size-Received": str(len(held.content))}
        if command == "query":
            return self._say(200, {}, **received, **{"X-Goog-Upload-Status": "active"})
        if int(self.headers["X-Goog-Upload-Offset"]) != len(held.content):
            return self._refuse(400, "that is not what comes next")
        held.content += content
        if command == "upload":
            assert len(content) % GRANULARITY == 0
            return self._say(200, {}, **{"X-Goog-Upload-Status": "active"})
        assert command == "upload, finalize"
        if len(held.content) != held.size:
            return self._refuse(400, "that is not all of it")
        name = f"files/clip-{len(self.server.files)}"
        self.server.files[name] = held
        status = {"X-Goog-Upload-Status": "final"}
        return self._say(200, {"file": self._told(name)}, **status)

    def _told(self, name: str) -> dict[str, Any]:
        held = self.server.files[name]
        ready = held.looks >= self.server.looks
        return {
            "name": name,
            "uri": f"{self.server.origin}/v1beta/{name}",
            "mimeType": held.mime,
            "sizeBytes": str(held.size),
            "state": self.server.state if ready else "PROCESSING",
        }

    def _look(self, content: bytes) -> None:
        name = self.path.removeprefix("/v1beta/")
        if name not in self.server.files:
            return self._refuse(403, "you may not, or there is none")
        told = self._told(name)
        self.server.files[name].looks += 1
        return self._say(200, told)

    def _delete(self, content: bytes) -> None:
        del self.server.files[self.path.removeprefix("/v1beta/")]
        self._say(200, {})

    def _ask(self, content: bytes) -> None:
        if len(content) > MOST_OF_REQUEST:
            return self._refuse(413, "the request is too large")
        body = json.loads(content)
        for part in body["contents"][0]["parts"]:
            if "file_data" in part:
                uri = part["file_data"]["file_uri"]
                name = re.sub("^.*/v1beta/", "", uri)
                if name not in self.server.files or self._told(name)["state"] != "ACTIVE":
                    return self._refuse(400, f"{uri} is not there, or not in state ACTIVE")
                assert part["file_data"]["mime_type"] == self.server.files[name].mime
                self.server.watched.append(bytes(self.server.files[name].content))
        request = Request(self.path, {}, body, [], 0.0)
        return self._say(200, spoken(request, self.server.says(request)))

    def _refuse(self, status: int, message: str) -> None:
        self._say(status, {"error": {"code": status, "message": message}})

    def _say(self, status: int, told: Any, **headers: str) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def counted(done: Sequence[str]) -> dict[str, int]:
    """How often each thing was done."""
    return {what: done.count(what) for what in dict.fromkeys(done)}
