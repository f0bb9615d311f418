"""What a paid server is asked and answers: a small interface. `client` sends, retries and paces."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar


class PaidAnswer(Protocol):
    """An answer that was paid for."""

    @property
    def tokens(self) -> int | None:
        """Its cost, None where the server does not say."""

    @property
    def refusal(self) -> str | None:
        """The reason why it says nothing; None where it does."""

    @property
    def fault(self) -> bool:
        """Whether a fault is that reason: the same question may be answered next time."""


Q = TypeVar("Q")
"""A question: what differs from call to call."""
R = TypeVar("R", bound=PaidAnswer)
"""The answer to it."""
R_co = TypeVar("R_co", bound=PaidAnswer, covariant=True)


LONGEST_ANSWER = 64_000_000
"""The most bytes of an answer that are read: a picture of 4,096 pixels a side, or ten minutes of
sound, and room."""


@dataclass(frozen=True, slots=True)
class Request:
    """The body of a request, and the names of the parameters in it."""

    content: bytes
    content_type: str
    parameters: frozenset[str]
    answer: Literal["JSON", "bytes"] = "JSON"
    """What is expected in return. A server that is to send bytes may send JSON all the same: an
    error, say."""
    most_bytes: int = LONGEST_ANSWER
    """Of the answer, at most."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """The body of a successful response that is no JSON, and its Content-Type."""

    content: bytes
    content_type: str


class UnexpectedReply(ValueError):
    """A successful response that differs from the protocol."""


class PaidAPI(Protocol[Q, R_co]):
    """A backend: the address of requests, their content, and the meaning of the answers."""

    url: str
    """The address of requests. It never holds the key."""

    def headers(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""

    def request(self, question: Q) -> Request:
        """The request for one question."""

    def plain(self) -> Q:
        """A question that every working model answers. May block."""

    def reply(self, payload: Any) -> R_co:
        """The answer in the server's JSON, or in a RawReply where bytes were asked for. Raises
        UnexpectedReply where there is none."""

    def adapt(self, sent: Request, parameter: str | None) -> bool:
        """Whether a request without one of the `sent` parameters may succeed; `request` then leaves
        it out."""
