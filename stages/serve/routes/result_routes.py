"""The addresses for what has come of jobs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from stages.serve.desk.desk import Desk
from stages.serve.desk.problems import RESPONSES, HttpRefusal
from stages.serve.desk.results import file_of, files_of, records_of
from stages.serve.queue.jobs_table import JobRow
from stages.serve.routes.asking import FoundJob, TheDesk

PAGE = 100
MOST_PAGE = 1000

_RANGES = re.compile(
    r"bytes=((?:\d{1,18}-\d{0,18}|-\d{1,18})(?:, ?(?:\d{1,18}-\d{0,18}|-\d{1,18})){0,31})"
)

FILE_HEADERS = {
    "Cache-Control": "private, max-age=60",
    # What a video's site or a model has written is never run as a page of this service.
    "Content-Security-Policy": "sandbox; default-src 'none'; media-src 'self'; img-src 'self'",
}

routes = APIRouter(tags=["results"], responses=RESPONSES)
"""The addresses for results, below /jobs and /files."""


class RecordsPage(BaseModel):
    """Some of a job's records, in order."""

    records: list[Any]
    next: str | None = Field(description="The address of the next page.")


class FileLink(BaseModel):
    """A file, and an address at which anybody gets it for an hour."""

    name: str
    size: int = Field(description="Bytes.")
    url: str


class FileList(BaseModel):
    """A job's files, ordered by name."""

    files: Sequence[FileLink]


@routes.get("/jobs/{id}/results", response_model=RecordsPage)
async def get_results(
    desk: TheDesk,
    row: FoundJob,
    begin: Annotated[int, Query(alias="from", ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_PAGE)] = PAGE,
) -> RecordsPage:
    """The records of a job that is done: scenes, frames, or whatever its pipeline makes."""
    folder = await _results(desk, row)
    records, following = await to_thread.run_sync(records_of, folder, begin, limit)
    at = f"/jobs/{row.id}/results?from={following}&limit={limit}"
    return RecordsPage(records=records, next=at if following is not None else None)


@routes.get("/jobs/{id}/files", response_model=FileList)
async def list_files(desk: TheDesk, row: FoundJob) -> FileList:
    """The files of a job that is done, with links that work for an hour and take no token."""
    found = await to_thread.run_sync(files_of, await _results(desk, row))
    links = [
        FileLink(name=one.name, size=one.size, url=desk.signer.link(row.id, one.name))
        for one in found
    ]
    return FileList(files=links)


@routes.head("/files/{id}/{name:path}", include_in_schema=False)
@routes.get("/files/{id}/{name:path}", response_class=FileResponse)
async def get_file(
    request: Request,
    desk: TheDesk,
    id_: Annotated[str, InPath(alias="id", max_length=64)],
    name: Annotated[str, InPath(max_length=4096)],
    expires: Annotated[int, Query(ge=0, le=2**53)] = 0,
    signature: Annotated[str, Query(max_length=128)] = "",
) -> FileResponse:
    """A file, by a link of GET /jobs/ID/files; a piece of it with Range."""
    if not desk.signer.holds(id_, name, expires, signature):
        raise HttpRefusal(403, "this link has expired, or is none; take one from /jobs/ID/files")
    row = await to_thread.run_sync(desk.table.find, None, id_)
    path = await to_thread.run_sync(file_of, desk.folder(row), name) if row is not None else None
    if path is None:
        raise HttpRefusal(404, "the file is there no more; see /jobs/ID/files")
    _ignore_odd_range(request)
    return FileResponse(path, headers=FILE_HEADERS)


def _ignore_odd_range(request: Request) -> None:
    """Have a Range that names no bytes, or is none, be as good as none: so RFC 9110 has it, where
    the response would refuse it."""
    asked = request.headers.get("range", "")
    named = _RANGES.fullmatch(asked)
    pairs = [one.split("-") for one in (named[1] if named else "").replace(" ", "").split(",")]
    if named and not any(first and last and int(first) > int(last) for first, last in pairs):
        return
    headers = request.scope["headers"]
    request.scope["headers"] = [one for one in headers if one[0] != b"range"]


async def _results(desk: Desk, row: JobRow) -> Path:
    """The folder of what has come of the job. Raises HttpRefusal where there is nothing."""
    if row.is_open:
        raise HttpRefusal(409, f"the job is {row.state}; ask again when it is done")
    if row.state != "done" or row.item is None:
        raise HttpRefusal(409, f"the job is {row.state}, and has no results; GET it to see why")
    folder = desk.folder(row)
    if not await to_thread.run_sync(folder.is_dir):
        told = "its results were taken out of the work folder; post it again to have them made anew"
        raise HttpRefusal(410, told)
    return folder
