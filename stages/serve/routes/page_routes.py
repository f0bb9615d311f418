"""The page: jobs, their parts as they come, and their results; a video dropped on it is a job."""

from functools import cache
from importlib.resources import files
from string import Template

from fastapi import APIRouter, Response

from engine import Pipeline
from stages.serve.routes.asking import TheDesk

routes = APIRouter(include_in_schema=False)
"""The page and its parts. They hold nothing of any job, so they take no token."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
}


OF_FILES = "FILE"
"""What pipelines take (`Pipeline.takes`) to which addresses mean nothing: scripts, for example."""


@routes.get("/")
async def page(desk: TheDesk) -> Response:
    asks = _asks_for(desk.profiles.pipeline)
    return Response(Template(_part("page.html")).substitute(asks), 200, HEADERS, "text/html")


@routes.get("/page.js")
async def script() -> Response:
    return Response(_part("page.js"), 200, HEADERS, "text/javascript")


@routes.get("/page.css")
async def style() -> Response:
    return Response(_part("page.css"), 200, HEADERS, "text/css")


@routes.get("/favicon.ico")
async def icon() -> Response:
    return Response(status_code=204)


def _asks_for(pipeline: Pipeline) -> dict[str, str]:
    """What the page says that is to be dropped, and what it lets people choose."""
    if pipeline.takes == OF_FILES:
        return {"what": "files", "accept": "", "addresses": "hidden"}
    is_video = pipeline.unit == "video"
    what, accept = ("videos", "video/*,audio/*") if is_video else ("files", "")
    return {"what": what, "accept": accept, "addresses": ""}


@cache
def _part(name: str) -> str:
    return (files("stages.serve") / "parts" / name).read_text(encoding="utf-8")
