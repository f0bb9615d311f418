"""The addresses of the service for jobs."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from engine import Job
from stages.serve.desk.desk import NAME, UPLOAD, Desk, webhook_address
from stages.serve.desk.job_views import JobPage, JobRequest, JobView, etag, job_view
from stages.serve.desk.problems import RESPONSES, HttpRefusal, busy
from stages.serve.desk.tokens import Caller
from stages.serve.queue.feeds import RUN, number_in
from stages.serve.queue.jobs_table import (
    CostReached,
    JobAsked,
    JobRow,
    KeyReused,
    QueueFull,
    QuotaReached,
    State,
)
from stages.serve.routes.asking import Asking, FoundJob, TheDesk
from stages.serve.routes.event_stream import HEARTBEAT, EventStream
from stages.serve.routes.quota_routes import cost_refusal

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]

PAGE = 50
MOST_PAGE = 500

routes = APIRouter(prefix="/jobs", tags=["jobs"], responses=RESPONSES)
"""The addresses for jobs."""

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}
}

NO_STORE = {"Cache-Control": "no-store"}


@routes.post("", status_code=202, response_model=JobView)
async def post_job(
    asked: JobRequest, desk: TheDesk, caller: Asking, response: Response, key: Key = None
) -> JobView:
    """Accept a job. It stands on the disk when this is answered: neither a crash nor a restart
    loses it. The same request with the same Idempotency-Key is answered with the same job."""
    data = asked.model_dump(exclude_none=True)
    webhook = data.pop("webhook", None)
    if webhook is not None and desk.tokens.secret(caller.name) is None:
        raise HttpRefusal(422, "a webhook takes a webhook_secret in the service's --token-file")
    job = (await to_thread.run_sync(desk.read, data, caller.name)).job
    if UPLOAD in data:
        data[NAME] = job.source.rpartition("/")[2]
    if webhook is not None:
        data["webhook"] = webhook = webhook_address(webhook)
    row = await _accepted(desk, caller, key, data, job, webhook)
    response.headers["Location"] = f"/jobs/{row.id}"
    return job_view(row, desk.feed(row.id))


@routes.get("", response_model=JobPage)
async def list_jobs(
    desk: TheDesk,
    caller: Asking,
    state: State | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PAGE)] = PAGE,
) -> JobPage:
    """Your jobs, the latest first."""
    rows = await to_thread.run_sync(desk.table.listed, caller.name, state, before, limit)
    more = f"/jobs?limit={limit}&before={rows[-1].number}" if len(rows) == limit else None
    if more and state:
        more += f"&state={state}"
    return JobPage(jobs=[job_view(row, desk.feed(row.id)) for row in rows], next=more)


@routes.get("/{id}", response_model=JobView)
async def get_job(
    desk: TheDesk, row: FoundJob, if_none_match: Annotated[str, Header()] = ""
) -> Response:
    """A job's state. With If-None-Match, an ETag of before, 304 where nothing has changed."""
    told = job_view(row, desk.feed(row.id)).model_dump()
    tag = etag(told)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return JSONResponse(told, headers=headers)


@routes.delete("/{id}", response_model=JobView)
async def cancel_job(desk: TheDesk, row: FoundJob, caller: Asking) -> JobView:
    """Cancel a job: nothing more begins with it. What it has done stands, and a new job for the
    same video goes on from there."""
    if not await to_thread.run_sync(desk.jobs.cancel, row):
        raise HttpRefusal(409, f"the job has ended: it is {row.state}; there is nothing to cancel")
    now = await to_thread.run_sync(desk.table.find, caller.name, row.id)
    assert now is not None
    return job_view(now, None)


@routes.get("/{id}/events", response_class=StreamingResponse, responses=STREAM)
async def get_events(
    desk: TheDesk, row: FoundJob, caller: Asking, last_event_id: Annotated[str, Header()] = ""
) -> Response:
    """News of a job, as server-sent events: `job`, its state; `step`; `part`; and `end`, the
    last one. Last-Event-ID goes on after the event of that id."""
    reload = partial(to_thread.run_sync, desk.table.find, caller.name, row.id)
    return EventStream(_news(desk, row, reload, number_in(last_event_id)), NO_STORE)


async def _accepted(
    desk: Desk,
    caller: Caller,
    key: str | None,
    data: Mapping[str, Any],
    job: Job,
    webhook: str | None,
) -> JobRow:
    """The job that is asked for, which stands on the disk. Raises HttpRefusal."""
    desk.check_open()
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    asked = JobAsked(caller.name, key, digest, data, job, webhook)
    try:
        row, is_new = await to_thread.run_sync(
            desk.table.accept, asked, desk.most_jobs, caller.jobs, caller.cost
        )
    except KeyReused:
        told = "this Idempotency-Key came with another request before; take a new one"
        raise HttpRefusal(422, told) from None
    except QueueFull:
        raise busy("as many jobs wait as may; post it again a little later", 10) from None
    except QuotaReached:
        told = f"{caller.jobs} of your jobs are under way, as many as may be; wait for one to end"
        raise busy(told, 10, 429) from None
    except CostReached:
        raise cost_refusal(caller) from None
    if is_new:
        desk.jobs.accepted()
    return row


async def _news(
    desk: Desk, row: JobRow, reload: Callable[[], Awaitable[JobRow | None]], seen: int | None
) -> AsyncIterator[str]:
    """The news of a job after the one numbered `seen`, and of its end."""
    feed = desk.opened_feed(row.id)
    row = await reload() or row  # it may have ended before there was a feed to tell so
    if not row.is_open:
        desk.forget_feed(row.id)
        feed.end()
    at = seen
    while not feed.is_over or (at is not None and at < feed.latest):
        news = feed.since(at) if at is not None else None
        if news is None:
            at = feed.latest
            row = await reload() or row
            yield _event("job", job_view(row, feed).model_dump(), f"{RUN}-{at}")
        for one in news or ():
            yield _event(one.kind, one.told, one.id)
            at = one.number
        with anyio.move_on_after(HEARTBEAT) as waiting:
            await feed.more(at or 0)
        if waiting.cancelled_caught:
            yield ":\n\n"
    yield _event("end", job_view(await reload() or row, None).model_dump(), "")


def _event(kind: str, told: Mapping[str, Any], id_: str) -> str:
    number = f"id: {id_}\n" if id_ else ""
    return f"event: {kind}\n{number}data: {json.dumps(told)}\n\n"
