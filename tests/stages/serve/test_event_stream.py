"""A client that reads nothing is left, however much there is to tell it."""

from collections.abc import AsyncIterator

import anyio
import pytest
from starlette.types import Message

from stages.serve.routes import event_stream
from stages.serve.routes.event_stream import EventStream


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_client_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """After what fits into the buffers between; nothing is made ahead for it."""
    monkeypatch.setattr(event_stream, "PATIENCE", 0.01)
    made, room = 0, 3

    async def events() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "data: {}\n\n"

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            await anyio.sleep_forever()

    async def serve() -> None:
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": version}}
        await EventStream(events(), {})(scope, receive, send)

    anyio.run(serve)
    assert made == 3
