"""The addresses for uploads, by the tus protocol, version 1.0: https://tus.io/protocols/resumable-upload.

The core protocol, with its extensions "creation" and "termination". An upload becomes a job by POST
/jobs with its id.
"""

import base64
import binascii
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.requests import ClientDisconnect

from stages.serve.desk.problems import RESPONSES, HttpRefusal
from stages.serve.desk.uploads import Incoming, VideoUpload
from stages.serve.routes.asking import Asking, TheDesk

VERSION = "1.0.0"

PATIENCE = 60.0
"""Seconds without a byte after which a request ends; the client may go on with another."""

PIECE = 1 << 20
"""Bytes that are gathered before they are written, at most."""

MEDIA_TYPE = "application/offset+octet-stream"

HEADERS = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}

routes = APIRouter(prefix="/uploads", tags=["uploads"], responses=RESPONSES)
"""The addresses for uploads."""


async def _version(tus_resumable: Annotated[str, Header()] = "") -> None:
    if tus_resumable != VERSION:
        told = f"give the header Tus-Resumable: {VERSION}; see https://tus.io"
        raise HttpRefusal(412, told, {"Tus-Version": VERSION})


Tus = Depends(_version)


async def _upload(
    desk: TheDesk, caller: Asking, id_: Annotated[str, Path(alias="id")]
) -> VideoUpload:
    return await to_thread.run_sync(desk.uploads.find, caller.name, id_)


FoundUpload = Annotated[VideoUpload, Depends(_upload)]


@routes.options("", status_code=204)
async def what_is_there(desk: TheDesk) -> Response:
    """The version and the extensions that are spoken here, and the size of the largest upload."""
    more = {
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,termination",
        "Tus-Max-Size": str(desk.uploads.most_bytes),
    }
    return Response(status_code=204, headers=HEADERS | more)


@routes.post("", status_code=201, dependencies=[Tus])
async def begin_upload(
    desk: TheDesk,
    caller: Asking,
    upload_length: Annotated[int, Header(ge=1, le=2**53)],
    upload_metadata: Annotated[str, Header(max_length=4096)] = "",
) -> Response:
    """Begin an upload of so many bytes; its address is in Location. Its metadata may hold the
    filename."""
    desk.check_open()
    name = _metadata(upload_metadata).get("filename", "")
    made = await to_thread.run_sync(desk.uploads.create, caller.name, upload_length, name)
    return Response(status_code=201, headers=HEADERS | {"Location": f"/uploads/{made.id}"})


@routes.head("/{id}", dependencies=[Tus])
async def ask_upload(desk: TheDesk, upload: FoundUpload) -> Response:
    """How many bytes have come, and are on the disk."""
    offset = await to_thread.run_sync(desk.uploads.offset, upload)
    lengths = {"Upload-Offset": str(offset), "Upload-Length": str(upload.length)}
    return Response(status_code=200, headers=HEADERS | lengths)


@routes.patch("/{id}", status_code=204, dependencies=[Tus])
async def go_on(
    desk: TheDesk,
    upload: FoundUpload,
    request: Request,
    upload_offset: Annotated[int, Header(ge=0, le=2**53)],
    content_type: Annotated[str, Header()] = "",
) -> Response:
    """Bytes from Upload-Offset on. When this is answered they are on the disk; so are those that
    came before a connection broke."""
    if content_type != MEDIA_TYPE:
        raise HttpRefusal(415, f"give the header Content-Type: {MEDIA_TYPE}")
    incoming = await to_thread.run_sync(desk.uploads.begin, upload, upload_offset)
    try:
        await _take(request, incoming)
    finally:
        with anyio.CancelScope(shield=True):  # what has come stays, whoever has left
            await to_thread.run_sync(desk.uploads.end, upload, incoming)
    offset = await to_thread.run_sync(desk.uploads.offset, upload)
    return Response(status_code=204, headers=HEADERS | {"Upload-Offset": str(offset)})


@routes.delete("/{id}", status_code=204, dependencies=[Tus])
async def end_upload(desk: TheDesk, upload: FoundUpload) -> Response:
    """Remove an upload that no job needs."""
    if await to_thread.run_sync(desk.needs, upload.id):
        raise HttpRefusal(409, "a job needs this upload; cancel the job first")
    await to_thread.run_sync(desk.uploads.remove, upload)
    return Response(status_code=204, headers=HEADERS)


async def _take(request: Request, incoming: Incoming) -> None:
    """Write the body as it comes, in pieces."""
    pieces, size = [], 0
    body = request.stream()
    try:
        while True:
            with anyio.fail_after(PATIENCE):
                piece = await anext(body)
            pieces.append(piece)
            size += len(piece)
            if size >= PIECE:
                await to_thread.run_sync(incoming.write, b"".join(pieces))
                pieces, size = [], 0
    except (StopAsyncIteration, ClientDisconnect):
        pass
    except TimeoutError:
        told = f"nothing came for {PATIENCE:.0f} seconds; ask for the offset, and go on from there"
        raise HttpRefusal(408, told) from None
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(incoming.write, b"".join(pieces))


def _metadata(header: str) -> dict[str, str]:
    """The values of Upload-Metadata by name. Raises HttpRefusal."""
    values = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            values[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            told = "Upload-Metadata are pairs of a name and a value in Base64, with commas between"
            raise HttpRefusal(400, told) from None
    return values
