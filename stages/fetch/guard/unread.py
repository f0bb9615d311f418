"""The response that was looked at and not read: the next request for the same gets it.

yt-dlp asks for a direct link twice: first to see what it is, for which the head or the first 512
bytes are enough, and then for the file. Its server would send a part of the file, or all of a small
one, for nothing, over a connection of its own.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

LASTS = 5.0
"""Seconds for which a response is kept: a server may give up on a client that reads nothing."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The parts of a request that decide on its response, cookies left out."""

    url: str
    headers: Mapping[str, str]
    proxies: Mapping[str, str]
    extensions: Mapping[str, Any]

    @classmethod
    def of(cls, request: Any, always: Mapping[str, str]) -> Self | None:
        """What this request of yt-dlp asks for, with the headers that `always` go along; None for
        one that is no plain GET."""
        from yt_dlp.networking import Request
        from yt_dlp.utils.networking import HTTPHeaderDict

        if not isinstance(request, Request) or (request.method, request.data) != ("GET", None):
            return None
        headers = HTTPHeaderDict(always, request.headers)
        return cls(request.url, headers, dict(request.proxies), dict(request.extensions))

    def at(self, url: str) -> Self:
        return type(self)(url, self.headers, self.proxies, self.extensions)


class Unread:
    """Holds one response at most: the last one, until the next request."""

    def __init__(self) -> None:
        self._last: tuple[RequestKey, Any] | None = None
        self._kept: tuple[RequestKey, Any, float] | None = None

    def came(self, key: RequestKey | None, response: Any) -> None:
        """This is the response to the latest request."""
        self._last = None if key is None or response.status != 200 else (key, response)

    def keep(self) -> None:
        """Keep the last response for the next request: its reader has returned."""
        if self._last is not None:
            self._kept = (*self._last, time.monotonic())
        self._last = None

    def take(self, key: RequestKey | None) -> Any:
        """The kept response, from its beginning, if it is the one to this request; None otherwise,
        and then it is dropped."""
        kept = self._kept
        self.drop()
        if kept is None or key is None:
            return None
        answered, response, since = kept
        is_same = key in (answered, answered.at(response.url))  # that after redirects
        is_fresh = time.monotonic() - since < LASTS
        return response if is_same and is_fresh and _rewound(response) else None

    def drop(self) -> None:
        """Keep none; what nobody else holds is closed."""
        self._last = self._kept = None


def _rewound(response: Any) -> bool:
    if response.closed or response.fp.closed:
        return False
    rewind = getattr(response.fp, "rewind", None)  # the body of a data: address has none
    return rewind is not None and rewind()
