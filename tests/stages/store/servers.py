"""Object stores on this machine: moto, which speaks S3, and azurite, which speaks Azure Blob; what
stands between them and a client; and a server that refuses."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.threaded_server import serving_requests

S3_KEYS = {"AWS_ACCESS_KEY_ID": "key-of-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests"}

ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The account that azurite has, as its documentation tells."""

BESIDE = Path(__file__).parents[3] / ".venv"


def find_azurite() -> str | None:
    beside = BESIDE / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    return os.environ.get("PENSTOCK_AZURITE") or shutil.which("azurite-blob") or (
        str(beside) if beside.exists() else None
    )  # fmt: skip


@contextmanager
def serving_s3() -> Iterator[str]:
    """Its address."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _serving(command, f"http://127.0.0.1:{port}", "/moto-api/") as url:
        yield url


@contextmanager
def serving_azure(folder: Path) -> Iterator[str]:
    """The address of its account. Skips the test where it is not there."""
    command = find_azurite()
    if command is None:
        pytest.skip("needs azurite: make azurite, or set PENSTOCK_AZURITE to its azurite-blob")
    port = _free_port()
    place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "-l", str(folder)]
    quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with _serving([command, *place, *quiet], f"http://127.0.0.1:{port}", "/") as url:
        yield f"{url}/{ACCOUNT}"


@contextmanager
def _serving(command: list[str], url: str, probe: str) -> Iterator[str]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with suppress(httpx.TransportError):
                    httpx.get(f"{url}{probe}")
                    break
                assert process.poll() is None, "it did not start"
                assert time.monotonic() < deadline, "it does not answer"
                time.sleep(0.02)
            yield url
        finally:
            process.terminate()


def make_bucket(url: str, name: str) -> None:
    httpx.put(f"{url}/{name}").raise_for_status()


def objects(url: str, bucket: str) -> dict[str, int]:
    """The sizes of a bucket's objects, by key."""
    return {one["Key"]: int(one["Size"]) for one in _listed(url, bucket, "", "Contents")}


def uploads(url: str, bucket: str) -> list[str]:
    """The keys of a bucket's unfinished uploads."""
    return [one["Key"] for one in _listed(url, bucket, "?uploads", "Upload")]


def _listed(url: str, bucket: str, query: str, tag: str) -> list[dict[str, str]]:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(httpx.get(f"{url}/{bucket}{query}").content)
    return [
        {field.tag.rpartition("}")[2]: field.text or "" for field in one}
        for one in root.iter()
        if one.tag.rpartition("}")[2] == tag
    ]


def make_container(url: str, name: str) -> None:
    """Azure takes no unsigned request for that: this signs one with the account's key."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = "".join(f"{key}:{value}\n" for key, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{lines}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    httpx.put(f"{url}/{name}?restype=container", headers=headers).raise_for_status()


class Link:
    """What stands between a client and a server: counts bytes, and breaks when it is told to."""

    def __init__(self, server: str) -> None:
        self.server = ("127.0.0.1", int(server.rpartition(":")[2]))
        self.sent = 0
        """Bytes that clients sent."""
        self.hold_at: int | None = None
        """Bytes after which nothing passes any more; `held` is set then."""
        self.held = threading.Event()
        self.break_at: int | None = None
        """Bytes of one connection after which it is cut off."""
        self.breaks = 0
        """Connections that are still to be cut off."""
        self._released = threading.Event()
        self._open = ExitStack()
        self._listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._open.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=_down, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        own = 0
        with client, server, suppress(OSError):
            while some := client.recv(65536):
                own += len(some)
                self.sent += len(some)
                if self.breaks and self.break_at is not None and own > self.break_at:
                    self.breaks -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                if self.hold_at is not None and self.sent > self.hold_at:
                    self.held.set()
                    self._released.wait()
                    return
                server.sendall(some)


def _down(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while some := server.recv(65536):
            client.sendall(some)
        client.shutdown(socket.SHUT_WR)


@contextmanager
def refusing(
    status: int,
    body: str,
    *,
    looks: int = 404,
    conditions_alone: bool = False,
    after: threading.Event | None = None,
    ahead: float = 0.0,
) -> Iterator[str]:
    """A server that answers every request with this status, but a look with `looks`; with
    `conditions_alone` it takes files that come without put-if-absent, with `after` it says all but
    looks only once this is set. Its clock is so many seconds ahead."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if after is not None and self.command != "HEAD":
                after.wait()
            taken = conditions_alone and "If-None-Match" not in self.headers
            answer = b"" if taken or self.command == "HEAD" else body.encode()
            self.send_response(looks if self.command == "HEAD" else 200 if taken else status)
            self.send_header("ETag", '"given"')
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PUT = do_POST = do_HEAD = _answer

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + ahead)

        def log_message(self, *_: Any) -> None:
            pass

    with serving_requests(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
