"""OpenAI's `/embeddings`, as a server that is paid for each request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.calls.api import Request, UnexpectedReply

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BYTES = 256_000_000
"""Of an answer, at most: 2,048 vectors of 3,072 numbers of 25 characters, and room."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one request as the server sent them, in the order of its texts."""

    rows: Sequence[Any]
    tokens: int | None
    refusal: str | None = None
    fault: bool = False

    def units(self) -> "NDArray[np.float32]":
        """(texts, dimensions), each of length 1. Raises ValueError where they are no vectors."""
        import numpy as np

        try:
            vectors = np.array(self.rows, np.float32)
        except TypeError as error:
            raise ValueError(error) from None
        if vectors.ndim != 2:
            raise ValueError("they are no vectors of one length")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        whole: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
        return whole


class EmbeddingsAPI:
    """POST BASE_URL/embeddings."""

    def __init__(self, base_url: str, model: str) -> None:
        self.url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def request(self, texts: Sequence[str]) -> Request:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        content = json.dumps(body, ensure_ascii=False).encode()
        return Request(content, "application/json", frozenset(body), most_bytes=MOST_BYTES)

    def plain(self) -> Sequence[str]:
        return ["text"]

    def reply(self, payload: Any) -> Embeddings:
        try:
            found = sorted(payload["data"], key=lambda one: one["index"])
            rows = [one["embedding"] for one in found]
            in_order = [one["index"] for one in found] == list(range(len(found)))
        except (KeyError, TypeError) as error:
            raise UnexpectedReply("no embeddings") from error
        if not rows or not in_order:
            raise UnexpectedReply(f"{len(rows)} vectors out of order")
        usage = payload.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, Mapping) else None
        return Embeddings(rows, tokens if type(tokens) is int else None)

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        return False
