"""Vectors by an API: OpenAI's `/embeddings`, and any server that speaks it."""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from engine import Permanent, StopRun, Throttled, Transient
from stages.calls.route import open_client
from stages.calls.sent_calls import SentCalls
from stages.search.embedding import API_KEY, API_URL, Embedded, NoMeaning

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

MOST_TEXTS = 2048
"""Texts of a request, at most."""

MOST_TOKENS = 300_000
"""Tokens of a request, at most. A token is a byte or more, so counting bytes never counts short."""

LONGEST = 8192
"""Tokens of a text, at most, counted likewise."""

SECONDS = 60.0
"""How long one request may take."""

_counting = threading.Lock()


class ApiEmbedder:
    """A model behind `base_url`/embeddings."""

    def __init__(
        self, model: str, base_url: str, key_name: str | None, calls: SentCalls | None = None
    ) -> None:
        """What becomes of its requests is counted in `calls`, which several may share. Raises
        NoMeaning where the public server's key is missing."""
        self._model = model
        self._url = base_url.rstrip("/")
        self._key_name = key_name or API_KEY
        self._key = os.environ.get(self._key_name, "").strip() or None
        self._calls = calls or SentCalls()
        self.host = urlsplit(base_url).netloc
        self.name = api_name(model, base_url)
        self.made_by: Mapping[str, Any] = {
            "backend": "api",
            "model": model,
            "base_url": base_url,
            "api_key_env": self._key_name,
        }
        if self._key is None and base_url == API_URL:
            raise NoMeaning(
                f"{self.host} needs a key: put it into the environment variable {self._key_name}"
            )

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        """Raises Throttled, Transient, Permanent and StopRun, as a stage does."""
        for some in batches([cut(text) for text in texts]):
            given = texts[some.start : some.stop]
            yield Embedded(given, anyio.run(self._ask, [cut(text) for text in given]))

    async def _ask(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        content = json.dumps(body, ensure_ascii=False).encode()
        began, answer = time.monotonic(), None
        try:
            answer = await self._post(content)
            self._check(answer)
            vectors = _vectors(answer, len(texts), self.host)
        except BaseException as error:
            with _counting:
                self._count(content, answer)
                self._calls.paused += isinstance(error, Throttled)
                self._calls.failed += not isinstance(error, Throttled)
            raise
        with _counting:
            self._count(content, answer)
            self._calls.answer(time.monotonic() - began)
        return vectors

    def _count(self, content: bytes, answer: "httpx.Response | None") -> None:
        self._calls.up += len(content)
        self._calls.down += len(answer.content) if answer is not None else 0

    async def _post(self, content: bytes) -> "httpx.Response":
        import httpx

        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            async with open_client(self._url, headers) as client:
                with anyio.fail_after(SECONDS):
                    return await client.post(f"{self._url}/embeddings", content=content)
        except (httpx.HTTPError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise Transient(f"{self.host}: no embeddings: {told}", kind="embeddings") from error

    def _check(self, answer: "httpx.Response") -> None:
        status = answer.status_code
        told = " ".join(answer.text.split())[:300]
        if status < 400:
            return
        if status == 429 and "insufficient_quota" not in told:
            after = _seconds(answer.headers.get("Retry-After"))
            raise Throttled(f"{self.host} says slow down", after=after, key=self.host)
        if status in (401, 402, 403, 404, 429):
            raise StopRun(
                f"{self.host} gives no embeddings ({status}: {told}); check model, base_url and "
                f"the key in {self._key_name}"
            )
        if status >= 500 or status == 408:
            raise Transient(f"{self.host} gives no embeddings: {status}", kind="embeddings")
        raise Permanent(f"{self.host} refuses the texts ({status}: {told})", kind="embeddings")


def api_name(model: str, base_url: str) -> str:
    """The name of the vectors of a model behind an address."""
    return f"{model} at {urlsplit(base_url).netloc}"


def cut(text: str) -> str:
    """As much of the text as a request may have of one."""
    return text.encode()[:LONGEST].decode(errors="ignore")


def batches(texts: Sequence[str]) -> Iterator[range]:
    """The places of the texts of each request, in order: as many as it may have."""
    first = size = 0
    for place, text in enumerate(texts):
        length = len(text.encode())
        if place > first and (place - first == MOST_TEXTS or size + length > MOST_TOKENS):
            yield range(first, place)
            first, size = place, 0
        size += length
    if texts:
        yield range(first, len(texts))


def _vectors(answer: "httpx.Response", count: int, host: str) -> "NDArray[np.float32]":
    """The vectors in the order of the texts, of length 1."""
    import numpy as np

    try:
        found: list[Any] = sorted(answer.json()["data"], key=lambda one: one["index"])
        vectors = np.array([one["embedding"] for one in found], np.float32)
        if [one["index"] for one in found] != list(range(count)) or vectors.ndim != 2:
            raise ValueError(f"{len(found)} vectors for {count} texts")
    except (ValueError, KeyError, TypeError) as error:
        raise Transient(f"{host} gave no usable embeddings: {error}", kind="embeddings") from error
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    whole: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return whole


def _seconds(text: str | None) -> float | None:
    """What Retry-After asks for in seconds; None for a date, or nothing."""
    try:
        return max(float(text), 0.0) if text is not None else None
    except ValueError:
        return None
