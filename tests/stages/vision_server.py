"""A real HTTP server on this machine that speaks both vision protocols, and fails when told to."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.threaded_server import QuietHandler, serving_requests


@dataclass(frozen=True)
class Answer:
    """What the server says in place of a description."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    latency: float | None = None
    after: threading.Event | None = None
    """Say it only once this is set."""


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    images: list[bytes]
    at: float

    @property
    def image(self) -> bytes:
        return self.images[0] if self.images else b""


def problem(
    status: int,
    headers: dict[str, str] | None = None,
    after: threading.Event | None = None,
    **error: Any,
) -> Answer:
    """An error as OpenAI and Gemini word theirs."""
    body = {"error": {"message": f"says the server with {status}"} | error}
    return Answer(status, json.dumps(body).encode(), headers or {}, after=after)


class VisionServer(ThreadingHTTPServer):
    """Answers each image with a sentence of its own, or what `says` makes of a request, after
    `latency` seconds.

    `fault` gets each request's number, from 0, and the request, and returns what to say instead, or
    None. With `key` other keys get a 401 that repeats what they sent.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        latency: float = 0.0,
        key: str | None = None,
        fault: Callable[[int, Request], Answer | None] = lambda number, request: None,
        says: Callable[[Request], str] = lambda request: sentence_on(request.image),
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.latency = latency
        self.key = key
        self.fault = fault
        self.says = says
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.in_flight = 0
        self.peak = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def images(self) -> list[bytes]:
        return [request.image for request in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are part of the tests."""


def sentence_on(image: bytes) -> str:
    """What the server says about this image."""
    return f"A scene numbered {hashlib.sha256(image).hexdigest()[:12]}."


def openai(server: VisionServer, **more: Any) -> dict[str, Any]:
    """Settings of a step that asks this server by OpenAI's protocol."""
    return {"backend": "openai", "base_url": f"{server.origin}/v1", "model": "eye"} | more


@contextmanager
def serving(**options: Any) -> Iterator[VisionServer]:
    server = VisionServer(**options)
    with serving_requests(server):
        yield server


class _Handler(QuietHandler):
    server: VisionServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, body, [*_images(body)], time.monotonic())
        server = self.server
        with server.lock:
            number = len(server.requests)
            server.requests.append(request)
            server.in_flight += 1
            server.peak = max(server.peak, server.in_flight)
        answer = self._unauthorised(headers) or server.fault(number, request)
        answer = answer or Answer(200, json.dumps(spoken(request, server.says(request))).encode())
        if answer.after is not None:
            answer.after.wait()
        time.sleep(server.latency if answer.latency is None else answer.latency)
        with server.lock:
            server.in_flight -= 1
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _unauthorised(self, headers: dict[str, str]) -> Answer | None:
        shown = (
            headers.get("x-goog-api-key")
            or headers.get("api-key")
            or headers.get("authorization", "").removeprefix("Bearer ")
        )
        if self.server.key is None or shown == self.server.key:
            return None
        message = f"Incorrect API key provided: {shown}.\nSee the documentation."
        return problem(401, message=message, code="invalid_api_key")


def _images(value: Any) -> Iterator[bytes]:
    """The images in a body, in order, however deep."""
    if isinstance(value, list):
        for inner in value:
            yield from _images(inner)
    elif isinstance(value, dict):
        if "inline_data" in value:
            yield base64.b64decode(value["inline_data"]["data"])
        elif "image_url" in value:
            url = value["image_url"]["url"]
            yield base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
        else:
            for inner in value.values():
                yield from _images(inner)


def spoken(request: Request, text: str, tokens: int = 400) -> dict[str, Any]:
    """The text as the answer to a request, by its protocol."""
    if "contents" in request.body:
        return {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"totalTokenCount": tokens},
        }
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"total_tokens": tokens}}
