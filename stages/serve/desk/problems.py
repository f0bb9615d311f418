"""Refusals as problem details (RFC 9457): what is wrong, and what to do, in one line."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from engine import StopRun, UsageError, why_refused, writable

log = logging.getLogger("penstock.serve")

MEDIA_TYPE = "application/problem+json"

LONGEST = 500
"""The most characters of a line: it may quote what a request said."""


class ProblemDetails(BaseModel):
    """What is wrong with a request, and what to do."""

    type: str = Field("about:blank", description="Always about:blank: the status says which kind.")
    title: str
    status: int
    detail: str = Field(description="One line for a person.")


class HttpRefusal(Exception):
    """A refusal of the request at hand."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def busy(detail: str, seconds: int, status: int = 503) -> HttpRefusal:
    """A refusal for now: the same request may be made again after so many seconds."""
    return HttpRefusal(status, detail, {"Retry-After": str(seconds)})


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    line = writable(" ".join(detail.split()))[:LONGEST]
    told = ProblemDetails(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=line
    )
    return JSONResponse(told.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Have every refusal of the app be told so."""

    @app.exception_handler(HttpRefusal)
    async def _(request: Request, problem: HttpRefusal) -> JSONResponse:
        return problem_response(problem.status, str(problem), problem.headers)

    @app.exception_handler(UsageError)
    async def _(request: Request, error: UsageError) -> JSONResponse:
        return problem_response(422, str(error))

    @app.exception_handler(StopRun)
    async def _(request: Request, error: StopRun) -> JSONResponse:
        log.error("%s", error)  # it names a file, and the command line: for the operator alone
        return problem_response(507, "the service's disk is full; ask again when there is room")

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        log.error("a request could not be answered", exc_info=error)
        return problem_response(500, "this is a bug of the service; its log has the details")

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(422, "; ".join(map(_sentence, error.errors()[:3])))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(
            error.status_code, _MEANT.get(error.status_code, str(error.detail)), error.headers
        )


_MEANT = {
    400: "the body is no JSON, in UTF-8",
    404: "there is no such address; /openapi.json describes them all",
    405: "that is not done at this address; /openapi.json says what is",
}


def _sentence(error: Mapping[str, Any]) -> str:
    if error["loc"] == ("body",):
        return "the body is an object of JSON, with the header Content-Type: application/json"
    if error["type"] == "json_invalid":  # its place is a number of bytes
        return "the body is no JSON"
    where = ".".join(str(part) for part in error["loc"] if part != "body")
    see = "; /openapi.json names them" if error["type"] == "extra_forbidden" else ""
    return f"{where}: {why_refused(error)}{see}"


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "model": ProblemDetails,
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
}
"""What every operation may answer besides."""
