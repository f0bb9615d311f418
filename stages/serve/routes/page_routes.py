"""The page: jobs, their parts as they come, and their results; a video dropped on it is a job."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

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


@routes.get("/")
async def page() -> Response:
    return Response(_part("page.html"), 200, HEADERS, "text/html")


@routes.get("/page.js")
async def script() -> Response:
    return Response(_part("page.js"), 200, HEADERS, "text/javascript")


@routes.get("/page.css")
async def style() -> Response:
    return Response(_part("page.css"), 200, HEADERS, "text/css")


@routes.get("/favicon.ico")
async def icon() -> Response:
    return Response(status_code=204)


@cache
def _part(name: str) -> str:
    return (files("stages.serve") / "parts" / name).read_text(encoding="utf-8")
