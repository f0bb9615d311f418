"""What every request has to pass: no page of another site asks, and bodies are small and come in
time, but for uploads."""

from collections.abc import Sequence

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.serve.desk.problems import problem_response

MOST_BYTES = 64 << 10
"""The most bytes of a body that is no upload."""

PATIENCE = 20.0
"""Seconds in which a body that is no upload has to come."""

OWN = ("same-origin", "none")
"""Values of Sec-Fetch-Site of the service's own page, and of a person who types an address."""

NOT_MEANT = (
    "this service answers to the name of its own machine alone; have a proxy before it send the "
    "header Host: localhost"
)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every response."""

UPLOADS = "/uploads"


class _Refused(Exception):
    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


class RequestsGuard:
    """The outermost part of the app."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        """It answers to requests for these hosts, without any to all."""
        self._app = app
        self._hosts = frozenset(map(_bare, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            # A site whose name was made to lead to this machine must not reach what is here.
            if self._hosts and _bare(Headers(scope=scope).get("host", "")) not in self._hosts:
                raise _Refused(400, NOT_MEANT)
            if Headers(scope=scope).get("sec-fetch-site", "none") not in OWN:
                raise _Refused(403, "a page of another site may not ask")
            if not scope["path"].startswith(UPLOADS):
                receive = await _read(receive)
        except _Refused as refused:
            response = problem_response(refused.status, str(refused))
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _bare(host: str) -> str:
    """A host without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host.rpartition(":")[0] if host.count(":") == 1 else host).lower()


async def _read(receive: Receive) -> Receive:
    """Read the whole body; returns what gives it, and then what comes after it."""
    try:
        with anyio.fail_after(PATIENCE):
            first = await _whole(receive)
    except TimeoutError:
        told = f"the body did not come within {PATIENCE:.0f} seconds; send it again"
        raise _Refused(408, told) from None
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return replay


async def _whole(receive: Receive) -> Message:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise _Refused(413, f"a body has {MOST_BYTES} bytes at most; videos go to {UPLOADS}")
        if not message.get("more_body"):
            return {"type": "http.request", "body": bytes(body), "more_body": False}
