"""Server-sent events, to clients that may be slow, or gone without a word."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

HEARTBEAT = 15.0
"""Seconds without news after which a client gets an empty comment, to keep the connection open."""

PATIENCE = 30.0
"""Seconds in which a client takes what is sent to it, before its connection is closed: it may come
back, and is told what it has missed."""


class EventStream(StreamingResponse):
    """A stream of server-sent events. Nothing is sent ahead of a client that does not read."""

    def __init__(self, events: AsyncIterator[str], headers: Mapping[str, str]) -> None:
        super().__init__(events, 200, headers, "text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Any) -> None:
            with anyio.fail_after(PATIENCE):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except* (TimeoutError, ClientDisconnect):
            pass  # the server closes a response that was not finished
