"""The service: an app, and the thread in which it is served beside the run."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from engine import AppServer, Port
from stages.serve.desk.desk import Desk
from stages.serve.desk.problems import answer_problems
from stages.serve.desk.signing import LinkSigner
from stages.serve.desk.tokens import Tokens
from stages.serve.desk.uploads import Uploads
from stages.serve.queue.source import ServedJobs
from stages.serve.requests_guard import RequestsGuard
from stages.serve.routes import (
    health,
    job_routes,
    metrics,
    page_routes,
    quota_routes,
    result_routes,
    upload_routes,
)
from stages.serve.webhooks import WebhookSender
from stages.service.profiles import ServedProfiles

log = logging.getLogger("penstock.serve")

MOST_CONNECTIONS = 1000

GOODBYE = 3
"""Seconds that requests in hand have when the service ends."""

SWEEP = 3600.0
"""Seconds between two looks for leftovers of uploads."""

KEEP = 1.0
"""Seconds between two times that costs of jobs under way are brought to the disk."""

START, LATER = 1.0, 60.0
"""Seconds until the next look before the run holds the work folder, and after one that failed."""

LOCAL = ["127.0.0.1", "localhost", "::1", "[::1]"]


def service_app(desk: Desk, hosts: list[str]) -> FastAPI:
    """The app; it answers to requests for these hosts, without any to all."""
    app = FastAPI(
        title=f"penstock serve: {desk.profiles.pipeline.name}",
        version="1",
        description=desk.profiles.pipeline.summary,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
    )
    answer_problems(app)
    app.state.desk = desk
    parts = (job_routes, result_routes, upload_routes, quota_routes, health, metrics, page_routes)
    for part in parts:
        app.include_router(part.routes)
    app.add_middleware(RequestsGuard, hosts=hosts)
    return app


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Who may ask, below which folders jobs may name files, how many jobs are worked on at once,
    how many may be under way, waiting ones among them, the bytes of the largest upload, and the
    seconds after its end in which a job is known."""

    tokens: Tokens = field(default_factory=lambda: Tokens(()))
    roots: Sequence[Path] = ()
    at_once: int = 4
    most_jobs: int = 1000
    most_bytes: int = 10 << 30
    remembered: float = 90 * 86400.0


@contextmanager
def served(
    profiles: ServedProfiles, workdir: Path, port: Port, options: ServiceOptions
) -> Iterator[ServedJobs]:
    """The source of a run, whose jobs are posted at the port during the block. It has to listen to
    that run. The service has a thread of its own: it answers whatever the run does."""
    doors = _Doors()
    jobs = ServedJobs(workdir, profiles.pipeline, options.at_once, doors)
    stages = profiles.config.stages.values()
    desk = Desk(
        jobs,
        profiles,
        workdir,
        options.tokens,
        Uploads(workdir / "uploads", options.most_bytes),
        LinkSigner(),
        options.roots,
        options.most_jobs,
        allow_private=any(getattr(one.settings, "allow_private", False) for one in stages),
        remembered=options.remembered,
    )
    jobs.prepare = desk.prepare
    try:
        with doors.opened(desk, port):
            yield jobs
    finally:
        jobs.close()


class _Doors:
    """Passes news of jobs from the run's threads to the service's event loop."""

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._desk: Desk | None = None

    def __call__(self, id_: str, kind: str, told: Mapping[str, Any]) -> None:
        portal, desk = self._portal, self._desk
        if portal is not None and desk is not None:
            portal.start_task_soon(desk.hear, id_, kind, told)

    @contextmanager
    def opened(self, desk: Desk, port: Port) -> Iterator[None]:
        """Serve in a thread of its own for the length of the block."""
        hosts = [] if port.is_public else [port.host, *LOCAL]
        with start_blocking_portal() as portal:
            self._portal, self._desk = portal, desk
            server = portal.call(_server, service_app(desk, hosts))
            serving = portal.start_task_soon(server.serve, port.socket)
            helping = portal.start_task_soon(_helpers, desk)
            try:
                yield
            finally:
                self._portal = None
                portal.call(server.stop)
                serving.result()
                helping.cancel()


async def _server(app: FastAPI) -> AppServer:
    return AppServer(app, most=MOST_CONNECTIONS, goodbye=GOODBYE)


async def _helpers(desk: Desk) -> None:
    """What goes on beside the answers: webhooks, leftovers of uploads that are swept, and costs
    that are written down."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_again_and_again, WebhookSender(desk, desk.allow_private).send_due)
        tasks.start_soon(_again_and_again, partial(_sweep, desk))
        tasks.start_soon(_again_and_again, partial(_keep_costs, desk))


async def _again_and_again(work: Callable[[], Awaitable[float]]) -> None:
    """Until cancelled: `work` returns the number of seconds to wait. What goes wrong, such as a
    full disk, is said, and goes on a little later."""
    while True:
        try:
            wait = await work()
        except Exception as error:
            log.warning("the service goes on: %s", error, exc_info=error)
            wait = LATER
        await anyio.sleep(wait)


async def _sweep(desk: Desk) -> float:
    if desk.jobs.table is None:
        return START
    await to_thread.run_sync(desk.sweep)
    return SWEEP


async def _keep_costs(desk: Desk) -> float:
    if desk.jobs.table is not None:
        await to_thread.run_sync(desk.jobs.table.costs.keep)
    return KEEP
