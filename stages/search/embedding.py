"""Embedders: what makes vectors of texts, so that texts of one meaning lie close together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from engine import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCAL_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LOCAL_REVISION = "e4ce9877abf3edfe10b0d82785e83bdcb973e22e"

API_MODEL = "text-embedding-3-small"
"""As looked up on 2026-11-25."""

API_URL = "https://api.openai.com/v1"
API_KEY = "OPENAI_API_KEY"


class Embedded(NamedTuple):
    """Some texts, in order, and their vectors: (texts, dimensions), each of length 1."""

    texts: Sequence[str]
    vectors: "NDArray[np.float32]"


class Embedder(Protocol):
    """Makes vectors of texts."""

    name: str
    """Names what makes them, to the last weight: vectors of another name are not comparable."""

    made_by: Mapping[str, Any]
    """How to make another one like it; JSON-able, without any key."""

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        """The vectors of the texts, piece by piece as they come, each text once and in order. To be
        kept at once: an API is paid for them."""

    def drain(self) -> None:
        """The run takes nothing new: what an API was not sent yet is not sent, and `embed` raises
        Withdrawn. Called on the run's event loop, while `embed` may be at work in a thread."""

    def close(self) -> None:
        """Give back what it holds of the run it was used in; it may be used again."""


class NoMeaning(UsageError):
    """Nothing here makes vectors: the message says what is missing, and what to do."""
