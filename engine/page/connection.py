"""One connection to a page or a service: their number is bounded, and a silent one is closed, with
a 408 if half a request has come.

The run in the same process needs the file descriptors that connections take.
"""

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 100
"""The most connections at once; further ones are closed at once."""

SHARE = 8
"""They take at most one in SHARE of the file descriptors that the process may have."""

PATIENCE = 10.0
"""Seconds that a connection has to send a whole request, from its opening or its last response."""

TOO_SLOW = b"the request did not come within the time for it; send it again\n"

TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(TOO_SLOW), TOO_SLOW)
)


def most_connections(most: int = MOST) -> int:
    """The most connections at once: `most`, or fewer where a process may open few files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // SHARE))


class Connection(H11Protocol):
    """uvicorn's connection, with these bounds."""

    _refused = False
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, most: int = MOST, **named: Any) -> None:
        super().__init__(*given, **named)
        self._most = most

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= most_connections(self._most):
            self._refused = True
            transport.abort()
            return
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._requested()
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._requested()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A whole second request may have come behind the answered one, and be at work already.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._await_request()

    def _await_request(self) -> None:
        self._requested()
        self._deadline = self.loop.call_later(PATIENCE, self._give_up)

    def _requested(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, *_: Any) -> None:
        self._deadline = None
        begun = self.conn.trailing_data[0]
        # Never behind a response that the client does not read: that would keep the connection.
        if begun and self.conn.their_state is h11.IDLE and not self._unread:
            self.transport.write(TIMED_OUT)
            if not self._unread:
                self.transport.close()
                return
        self.transport.abort()

    @property
    def _unread(self) -> int:
        """Bytes that the client's side has not taken yet."""
        return self.transport.get_write_buffer_size()
