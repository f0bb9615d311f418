"""`--web PORT`: the page of a run, served while it goes on, and its metrics; or of a work folder.

  GET /            the page
  GET /events      news, as server-sent events; the last one says that the run has ended
  GET /metrics     for Prometheus
  GET /ask/…       answers of the pipeline to its sections' scripts, and its files
  GET /plotly.js, /page.js, /sections.js

The ledger is read in a thread, only while a browser is connected, and so rarely that it takes a
twentieth of one core at most.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.contract.pipeline import Pipeline, Section
from engine.ledger.lock import is_locked
from engine.page.answers import HEADERS, SectionAnswers
from engine.page.data import Book, PageData, State
from engine.page.metrics import Metrics
from engine.page.page import (
    page_context,
    part,
    plotly,
    render_page,
    render_parts,
    render_sections,
    scripts_of,
    sections_of,
)
from engine.page.port import LOOPBACK, Port
from engine.page.server import AppServer
from engine.telemetry.events import Event, Stopping
from engine.telemetry.statistics import PoolStatistics
from engine.telemetry.text import one_line
from engine.views.progress import Snapshot

REFRESH = 1.0
"""Seconds between two reads of the ledger, at least."""

SECTIONS_REFRESH = 10.0
"""Seconds between two renderings of the pipeline's sections, which may contain pictures."""

REST = 20
"""After a read of the ledger the next one waits at least REST times its duration."""

HEARTBEAT = 15.0
"""Seconds without news after which a client gets an empty comment, to keep the connection open."""

GOODBYE = 5.0
"""The most seconds that the end of a run waits for a read of the ledger that is going on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The part of the timeline that a client has: see `Timeline.since`."""

    generation: int = -1
    attempts: int = 0
    items: int = 0

    @classmethod
    def parse(cls, text: str) -> "Seen":
        """The inverse of `str`; for any other text, a client that has nothing."""
        numbers = text.split(".")
        if len(numbers) != 3 or not all(part.isascii() and part.isdigit() for part in numbers):
            return cls()
        return cls(*map(int, numbers))

    def __str__(self) -> str:
        return f"{self.generation}.{self.attempts}.{self.items}"


class LivePage:
    """Serves one run's page: it listens to the run's events, and `serve` goes on beside the run. Or
    that of a work folder, without a run of this process."""

    def __init__(
        self,
        pipeline: Pipeline,
        workdir: Path,
        port: Port,
        snapshot: Snapshot | None = None,
        outcome: Callable[[], State] | None = None,
        settings: Mapping[str, BaseModel] | None = None,
    ) -> None:
        """`snapshot` and `outcome` are the run's: its pools, and, once it ends, how; None where
        there is none. `settings` are the stages', by name."""
        self._port = port
        self._snapshot, self._outcome = snapshot, outcome
        self._metrics = Metrics(snapshot) if snapshot is not None else None
        self._book = Book(pipeline, workdir)
        self._context = page_context(workdir, live=True, settings=settings)
        self._answers = SectionAnswers(pipeline, self._context)
        self._reading = anyio.Lock()
        self._data: PageData | None = None
        self._parts: dict[str, str] = {}
        self._curves: dict[str, Any] = {}
        self._sections: Sequence[Section] = ()
        self._sections_html = ""
        self._sections_due = 0.0
        self._clients = 0
        self._arrived = anyio.Event()
        self._changed = anyio.Event()
        self._problem: str | None = None
        self._why: str | None = None
        self._over = False

    def __call__(self, event: Event) -> None:
        if self._metrics is not None:
            self._metrics(event)
        if isinstance(event, Stopping):
            self._why = event.why

    async def serve(self) -> None:
        """Serve until cancelled; then tell the connected clients how the run ended."""
        server = AppServer(self._app())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, self._port.socket)
            try:
                await self._refresh_forever()
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE):
                    await self._say_goodbye()
                self._over = True
                self._changed.set()
                server.stop()

    def _app(self) -> Starlette:
        # A site whose name was made to lead to this machine must not read what is here.
        own = [self._port.host, LOOPBACK, "localhost", "::1", "[::1]"]
        hosts = ["*"] if self._port.is_public else own
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/events", self._events),
                Route("/metrics", self._show_metrics),
                Route("/plotly.js", partial(_script, plotly)),
                Route("/page.js", partial(_script, partial(part, "page.js"))),
                Route("/sections.js", self._own_scripts),
                Route("/ask/{question}", self._answers.__call__),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        )

    # Reading the ledger

    async def _refresh_forever(self) -> None:
        while True:
            if not self._clients:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            began = time.monotonic()
            async with self._reading:
                await self._look()
            await anyio.sleep(max(REFRESH, REST * (time.monotonic() - began)))

    async def _say_goodbye(self) -> None:
        if self._clients and self._outcome is not None:
            async with self._reading:
                self._sections_due = 0.0
                await self._look(ended=self._outcome())

    async def _look(self, ended: State | None = None) -> None:
        """Read the state of the run, and wake the clients that wait for news."""
        # On the loop, where the pools run.
        pools = self._snapshot() if self._snapshot is not None else None
        try:
            await to_thread.run_sync(self._read, pools, ended)
        except Exception as error:  # shown on the page; it must not end the run
            self._problem = f"{type(error).__name__}: {one_line(str(error))}"
            return
        self._problem = None
        self._changed.set()
        self._changed = anyio.Event()

    def _read(self, pools: Sequence[PoolStatistics] | None, ended: State | None) -> None:
        why = None if ended == "done" else self._why
        running = is_locked(self._book.workdir) if pools is None else ended is None
        self._data = self._book.read(running=running, pools=pools, why=why, ended=ended)
        self._parts = render_parts(self._data)
        self._curves = self._book.curves()
        if (began := time.monotonic()) >= self._sections_due:
            self._sections = sections_of(self._book.pipeline, self._context)
            self._sections_html = render_sections(self._sections)
            now = time.monotonic()
            self._sections_due = now + max(SECTIONS_REFRESH, REST * (now - began))

    # Answering

    async def _page(self, request: Request) -> Response:
        async with self._reading:
            await self._look()
            if self._data is None or self._problem is not None:
                text = f"The page cannot be made just now: {self._problem}"
                return PlainTextResponse(text, 503, HEADERS)
            html = await to_thread.run_sync(
                partial(render_page, self._book, self._data, self._sections, live=True)
            )
        return HTMLResponse(html, headers=HEADERS)

    async def _own_scripts(self, request: Request) -> Response:
        text = "\n".join(scripts_of(self._sections))
        return Response(text, 200, HEADERS, "text/javascript")

    async def _show_metrics(self, request: Request) -> Response:
        if self._metrics is None:
            return PlainTextResponse("no run is at work in this process", 404, HEADERS)
        content, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={**HEADERS, "Content-Type": content_type})

    async def _events(self, request: Request) -> Response:
        # A client that reconnects sends the id of its last message.
        said = request.headers.get("last-event-id") or request.query_params.get("seen", "")
        stream = self._tell(Seen.parse(said))
        return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)

    async def _tell(self, seen: Seen) -> AsyncIterator[str]:
        """News, again and again: each message holds all that the client has
        missed, however slow it is."""
        told: dict[str, str] = {}
        self._clients += 1
        self._arrived.set()
        try:
            while True:
                changed, over = self._changed, self._over
                if self._data is not None:
                    async with self._reading:
                        text, seen = await to_thread.run_sync(self._news, seen, told)
                    yield _event("update", text, str(seen))
                if over:
                    run = "true" if self._outcome is not None else "false"
                    yield _event("end", f'{{"run":{run}}}', str(seen))
                    return
                while not changed.is_set():
                    with anyio.move_on_after(HEARTBEAT):
                        await changed.wait()
                        break
                    yield ":\n\n"
        finally:
            self._clients -= 1

    def _news(self, seen: Seen, told: dict[str, str]) -> tuple[str, Seen]:
        """A message with all that this client lacks, and what it will have seen after it."""
        timeline = self._book.timeline
        drawn = timeline.since(seen.generation, seen.attempts, seen.items)
        curves = json.dumps(self._curves["time"])  # without a later time nothing is new
        now = {**self._parts, "sections": self._sections_html, "curves": curves}
        fresh = {name: text for name, text in now.items() if told.get(name) != text}
        told |= fresh
        news: dict[str, Any] = {
            "parts": {name: text for name, text in fresh.items() if name in self._parts},
            "runs": self._book.axis(),
            "timeline": drawn,
        }
        if "sections" in fresh:
            news["sections"] = fresh["sections"]
        if "curves" in fresh:
            news["curves"] = self._curves
        text = json.dumps(news, separators=(",", ":"))
        return text, Seen(timeline.generation, len(timeline), len(timeline.items))


async def _script(text: Callable[[], str], request: Request) -> Response:
    headers = {**HEADERS, "Cache-Control": "max-age=3600"}
    return Response(await to_thread.run_sync(text), 200, headers, "text/javascript")


def _event(kind: str, data: str, number: str) -> str:
    return f"event: {kind}\nid: {number}\ndata: {data}\n\n"
