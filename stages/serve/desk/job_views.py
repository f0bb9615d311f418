"""What is told of a job: its state, as an address of its own gives it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.serve.queue.feeds import JobFeed
from stages.serve.queue.jobs_table import JobRow


class JobRequest(BaseModel):
    """A job: one of `url`, `videoPath` and `upload`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str | None = Field(None, max_length=8000, description="An http:// or https:// address.")
    videoPath: str | None = Field(  # noqa: N815 - the name in the jobs of queues
        None, max_length=4096, description="A file of the server's machine, below a --root."
    )
    upload: str | None = Field(None, max_length=64, description="The id of an upload.")
    profile: str | None = Field(None, max_length=200, description="One of the service's.")
    options: dict[str, Any] | None = Field(
        None, description="Settings, STEP.KEY, that the profile allows, and this job's values."
    )
    priority: int | None = Field(
        None, ge=-1000, le=1000, description="Jobs of a higher one go first; 0 by default."
    )
    within: float | None = Field(
        None, gt=0, le=1e9, description="Seconds after which nobody waits for it any longer."
    )
    webhook: str | None = Field(
        None, max_length=2000, description="An address that is called at the job's end."
    )


class JobProgress(BaseModel):
    """How far a job is."""

    step: str | None = Field(description="The step that has last done something for it.")
    parts: int = Field(description="The number of its parts that have ended.")
    bound: str | None = Field(
        None, description="What bounds it so far: a step, or `waiting`. None: not known yet."
    )
    path: dict[str, float] = Field(
        default_factory=dict,
        description="The critical path so far: seconds by step, one after the other.",
    )
    waited: float = Field(
        0.0, description="The rest of its seconds: waiting for workers, gates, retries."
    )


class JobResult(BaseModel):
    """Where the whole of what came of a job is: one JSON object in an object store."""

    url: str = Field(description="Gives it to anybody, until it expires.")
    expires: str | None = Field(description="When the first link does, in it too; none: never.")
    address: str = Field(description="Its address in the store, which stays.")
    key: str = Field(description="Its key in the bucket.")
    size: int = Field(description="Bytes.")
    sha256: str
    records: int = Field(description="The number of its records.")
    files: int = Field(description="The number of files that it has links to.")


class HeldItem(BaseModel):
    """How an item of a list has ended."""

    item: str = Field(description="The id of its outputs in the work folder.")
    source: str
    outcome: Literal["done", "dropped", "failed", "pending"]
    gaps: int = Field(description="The number of parts that failed, and that it is done without.")
    step: str | None = Field(None, description="The step at which it was dropped, or failed.")
    reason: str | None = Field(None, description="Why it was dropped, or failed.")
    result: JobResult | None = Field(None, description="If it is done, and is published.")


class JobList(BaseModel):
    """What came of a list, such as a playlist, and of the lists in it."""

    items: int = Field(description="The number of items that it held.")
    done: int
    dropped: int
    failed: int
    pending: int
    ends: tuple[HeldItem, ...] = Field(description="The first hundred, ordered by their ids.")


class JobView(BaseModel):
    """A job and its state."""

    id: str
    state: Literal["queued", "running", "done", "dropped", "failed", "expired", "cancelled"]
    data: dict[str, Any] = Field(description="What was asked for.")
    item: str | None = Field(description="The id of its outputs in the work folder.")
    progress: JobProgress | None = Field(description="While it is running.")
    step: str | None = Field(description="The step at which it was dropped, or failed.")
    reason: str | None = Field(description="Why it was dropped, or failed.")
    gaps: int = Field(description="The number of parts that failed, and that it is done without.")
    result: JobResult | None = Field(description="If it is done, and its pipeline publishes.")
    list: JobList | None = Field(description="If it is done, and was a list.")
    accepted: str = Field(description="When it was accepted: ISO 8601, UTC.")
    ended: str | None
    links: dict[str, str]


class JobPage(BaseModel):
    """Some of a caller's jobs, the latest first."""

    jobs: list[JobView]
    next: str | None = Field(description="The address of the next page.")


def job_view(row: JobRow, feed: JobFeed | None) -> JobView:
    at = f"/jobs/{row.id}"
    progress = None
    if feed and row.is_open:
        progress = JobProgress(step=feed.step, parts=feed.parts, **(feed.path or {}))
    return JobView(
        id=row.id,
        state=row.state,
        data=dict(row.data),
        item=row.item,
        progress=progress,
        step=row.stage,
        reason=row.reason,
        gaps=row.gaps,
        result=JobResult.model_validate(row.result) if row.result is not None else None,
        list=JobList.model_validate(row.held) if row.held is not None else None,
        accepted=_time(row.accepted),
        ended=_time(row.ended) if row.ended is not None else None,
        links={"self": at, **{name: f"{at}/{name}" for name in ("events", "results", "files")}},
    )


def etag(view: Mapping[str, Any]) -> str:
    text = json.dumps(view, sort_keys=True).encode()
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
