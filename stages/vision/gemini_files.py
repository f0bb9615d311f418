"""Files too large for a request to Gemini: Google's Files API holds them for the time being.

A file is uploaded piece by piece in one resumable session, so that a broken connection costs a
piece at most; it is named in requests once the server has processed it, and deleted after that.
Uploads cost nothing. A file that is never deleted, as after a kill, is gone after 48 hours.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import anyio

from stages.calls.problem import Problem, read_problem
from stages.calls.route import open_client

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 2_000_000_000
"""The most bytes of a file, as looked up on 2026-11-26."""

PIECE = 8 * 1024 * 1024
"""Bytes that are sent, and held in memory, at once: a multiple of the server's 256 KiB."""

_FIRST_LOOK, _LONGEST_LOOK = 0.25, 10.0
"""Seconds until it is asked whether a file is processed, at first and at most."""

_FAREWELL = 30.0
"""Seconds that the deletion of a file may take."""

_NO_SUCH_API = {404, 405, 410, 501}

LOG = logging.getLogger("penstock.gemini_files")


class NotUploaded(Exception):
    """The server does not take this file, or none where it is so for `every` one. The message is
    one line."""

    def __init__(self, why: str, *, every: bool = False) -> None:
        super().__init__(why)
        self.every = every


class UploadFailed(Exception):
    """The server failed at it. `after` are the seconds that it asks to wait. The message is one
    line."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class GeminiFiles:
    """The Files API of the server at `base_url`, such as https://host/v1beta.

    `timeout` bounds, in seconds, how long the server may say nothing; `attempts` the tries at one
    request; `patience` the seconds until a file is processed. `setting` names that of the address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        timeout: float,
        attempts: int,
        patience: float,
        setting: str,
    ) -> None:
        parent, _, version = base_url.rstrip("/").rpartition("/")
        self.url = base_url.rstrip("/")
        self.start_url = f"{parent}/upload/{version}/files"
        self.host = urlsplit(base_url).netloc
        self.attempts = attempts
        self.patience = patience
        self._key = key
        self._shown = {"x-goog-api-key": key} if key else {}
        # The key is shown to this server's own addresses, and to no other.
        self._http = open_client(base_url, {}, setting=setting)
        self._timeout = timeout

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def uploaded(self, file: Path, mime: str) -> AsyncIterator[str]:
        """The URI that names the file in requests, until the block ends.

        Raises NotUploaded where the server does not take it, UploadFailed where the server fails.
        """
        name, uri = await self._upload(file, mime)
        try:
            await self._processed(name)
            yield uri
        finally:
            with anyio.CancelScope(shield=True):
                await self._delete(name)

    async def _upload(self, file: Path, mime: str) -> tuple[str, str]:
        """The name and the URI of the file that was uploaded."""
        size = (await anyio.Path(file).stat()).st_size
        begun = await self._send(
            "POST",
            self.start_url,
            json.dumps({"file": {"display_name": "clip"}}).encode(),
            {
                **self._shown,
                "Content-Type": "application/json",
                "X-Goog-Upload-Protocol": "resumable",
                "X-Goog-Upload-Command": "start",
                "X-Goog-Upload-Header-Content-Length": str(size),
                "X-Goog-Upload-Header-Content-Type": mime,
            },
            every=True,
        )
        session = urljoin(self.start_url, begun.headers.get("x-goog-upload-url", ""))
        if urlsplit(session)[:2] != urlsplit(self.start_url)[:2]:
            raise NotUploaded(f"{self.host} wants files sent to another server", every=True)
        if session == self.start_url:
            raise NotUploaded(f"{self.host} does not say where files are sent to", every=True)
        told = _parsed(await self._pieces(session, file, size)).get("file")
        named: Mapping[str, Any] = told if isinstance(told, dict) else {}
        name = str(named.get("name"))
        if not re.fullmatch(r"files/[a-z0-9-]{1,64}", name):
            raise UploadFailed(f"{self.host} does not name the file that was sent")
        return name, str(named.get("uri") or f"{self.url}/{name}")

    async def _pieces(self, session: str, file: Path, size: int) -> bytes:
        """Send the file; what the server says at its end."""
        sent = failures = 0
        async with await anyio.open_file(file, "rb") as source:
            while True:
                await source.seek(sent)
                piece = await source.read(PIECE)
                last = sent + len(piece) >= size
                headers = {
                    "X-Goog-Upload-Command": "upload, finalize" if last else "upload",
                    "X-Goog-Upload-Offset": str(sent),
                }
                try:
                    response = await self._send("POST", session, piece, headers, attempts=1)
                except UploadFailed as error:
                    failures += 1
                    if failures >= self.attempts:
                        raise
                    await anyio.sleep(error.after or 2.0**failures / 2)
                    asked = {"X-Goog-Upload-Command": "query"}
                    response = await self._send("POST", session, b"", asked)
                    last = response.headers.get("x-goog-upload-status") == "final"
                    sent = _received(response.headers, size)
                else:
                    sent += len(piece)
                if last:
                    return response.content

    async def _processed(self, name: str) -> None:
        """Wait until the file can be asked about."""
        wait = _FIRST_LOOK
        with anyio.move_on_after(self.patience):
            while True:
                told = _parsed(
                    (await self._send("GET", f"{self.url}/{name}", b"", self._shown)).content
                )
                if told.get("state") == "FAILED":
                    raise NotUploaded(f"{self.host} cannot read it")
                if told.get("state") != "PROCESSING":
                    return
                await anyio.sleep(wait)
                wait = min(2 * wait, _LONGEST_LOOK)
        raise UploadFailed(f"{self.host} has not processed a clip within {self.patience:g} s")

    async def _delete(self, name: str) -> None:
        """A failure is told, and no more: the file is gone after 48 hours by itself."""
        try:
            with anyio.fail_after(_FAREWELL):
                await self._send("DELETE", f"{self.url}/{name}", b"", self._shown, attempts=1)
        except (NotUploaded, UploadFailed, TimeoutError) as error:
            why = str(error) or f"{self.host} did not answer"
            LOG.warning("a clip stays with the server for up to 48 hours: %s", why)

    async def _send(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        *,
        attempts: int | None = None,
        every: bool = False,
    ) -> "httpx.Response":
        """The response to one request. `every`: what is refused for want of an address is refused
        for every file. Raises NotUploaded and UploadFailed."""
        failures = 0
        while True:
            try:
                return await self._once(method, url, content, headers, every)
            except UploadFailed as error:
                failures += 1
                if failures >= (attempts or self.attempts) or (error.after or 0) > self.patience:
                    raise
                await anyio.sleep(error.after or 2.0**failures / 2)

    async def _once(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], every: bool
    ) -> "httpx.Response":
        import httpx

        try:
            response = await self._http.request(
                method, url, content=content, headers=dict(headers), timeout=self._timeout
            )
        except (httpx.RequestError, httpx.InvalidURL) as error:
            why = self._plain(str(error)) or type(error).__name__
            raise UploadFailed(f"no answer from {self.host} to an upload: {why}") from None
        if response.is_success:
            return response
        problem = read_problem(response.status_code, response.headers, response.content)
        said = f"{self.host} answered {problem.status} to an upload: {self._plain(problem.message)}"
        if _may_pass(problem):
            raise UploadFailed(said, problem.wait)
        raise NotUploaded(said, every=every and problem.status in _NO_SUCH_API)

    def _plain(self, text: str) -> str:
        """A server's words as one short line, without the key."""
        text = " ".join(text.split())
        return (text.replace(self._key, "[key]") if self._key else text)[:200]


def _may_pass(problem: Problem) -> bool:
    return problem.remedy in ("slow down", "try again")


def _received(headers: Mapping[str, str], size: int) -> int:
    """The bytes that the server has; 0 where it says nothing that can be."""
    told = headers.get("x-goog-upload-size-received", "").strip()
    return int(told) if told.isdecimal() and int(told) <= size else 0


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
