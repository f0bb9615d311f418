"""An app on a bound port, beside whatever else this process does: bounded connections, and an end
that waits for no client."""

import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import uvicorn

from engine.page.connection import MOST, Connection, most_connections

BACKLOG = 16
"""Connections that are accepted at once before they are counted."""


class AppServer:
    """Serves an ASGI app on an event loop that is there. Signals are left to the program."""

    def __init__(self, app: Any, *, most: int = MOST, goodbye: int = 1) -> None:
        """`most` is the number of connections at once; further ones are closed. Requests in hand
        have `goodbye` seconds at the end."""
        allowed = most_connections(most)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=partial(Connection, most=most),  # type: ignore[arg-type]
                backlog=BACKLOG,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                limit_concurrency=allowed + 1,  # it counts one that is being refused, too
                timeout_graceful_shutdown=goodbye,
            )
        )

    async def serve(self, listening: socket.socket) -> None:
        """Serve until `stop` is called. It cannot be cancelled: its end closes the connections."""
        with anyio.CancelScope(shield=True):
            await self._server.serve(sockets=[listening])
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()  # a client that did not read its response
            await anyio.lowlevel.checkpoint()

    def stop(self) -> None:
        """Have `serve` take no more connections, and return."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn on a running event loop; the program handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
