"""Who asks, and for which job: what the addresses of the service depend on."""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Header, Path, Request

from stages.serve.desk.desk import Desk
from stages.serve.desk.problems import HttpRefusal
from stages.serve.desk.tokens import Caller
from stages.serve.queue.jobs_table import JobRow


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(_desk)]


async def _caller(desk: TheDesk, authorization: Annotated[str, Header()] = "") -> Caller:
    return desk.tokens.caller(authorization)


Asking = Annotated[Caller, Depends(_caller)]
"""Whoever asks; without a token that the service knows, the request is refused."""


async def _job(desk: TheDesk, caller: Asking, id_: Annotated[str, Path(alias="id")]) -> JobRow:
    row = await to_thread.run_sync(desk.table.find, caller.name, id_)
    if row is None:
        raise HttpRefusal(404, "there is no such job; GET /jobs lists yours")
    return row


FoundJob = Annotated[JobRow, Depends(_job)]
"""The caller's job that the address names."""
