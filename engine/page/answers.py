"""Answers to the scripts of a pipeline's sections, on a live page.

Only the page itself may ask: a browser says where a request comes from, and one of another site is
refused. A file is sent only from the work folder, whatever the pipeline names.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from engine.contract.errors import UsageError
from engine.contract.pipeline import PageContext, PageFile, Pipeline
from engine.telemetry.text import one_line, writable

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
"""Of every response of a live page."""

FILE_HEADERS = {**HEADERS, "Cache-Control": "private, max-age=60"}

AT_ONCE = 4
"""Questions that are answered at once; the others wait. The run needs the threads."""

OWN = ("same-origin", "none")
"""Values of Sec-Fetch-Site of the page itself, and of a person who types the address."""


class SectionAnswers:
    """Answers questions at `ask/QUESTION`."""

    def __init__(self, pipeline: Pipeline, context: PageContext) -> None:
        self._answer = pipeline.answer
        self._context = context
        self._threads = anyio.CapacityLimiter(AT_ONCE)

    async def __call__(self, request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "none") not in OWN:
            return _problem("another site may not ask", 403)
        question = request.path_params["question"]
        try:
            # Whoever asks may have left, and the run may be over: neither waits for the answer.
            answer = await to_thread.run_sync(
                partial(self._answered, question, dict(request.query_params)),
                limiter=self._threads,
                abandon_on_cancel=True,
            )
        except UsageError as error:
            return _problem(str(error), 400)
        except Exception as error:  # shown on the page; it must not end the run
            return _problem(f"{type(error).__name__}: {one_line(str(error))}", 500)
        if answer is None:
            return _problem("there is no such thing", 404)
        if isinstance(answer, PageFile):
            return FileResponse(answer.path, headers=FILE_HEADERS, media_type=answer.media_type)
        return _json(answer)

    def _answered(self, question: str, values: dict[str, str]) -> Any:
        """The answer; of a file, its real path. None where there is none."""
        answer = self._answer(self._context, question, values) if self._answer else None
        if not isinstance(answer, PageFile):
            return answer
        path = _real_path(answer, self._context.workdir)
        return PageFile(path, answer.media_type) if path is not None else None


def _real_path(file: PageFile, workdir: Path) -> Path | None:
    """Where the file really lies; None where it is not there, or may not be sent."""
    try:
        path = file.path.resolve(strict=True)
        inside = path.is_relative_to(workdir.resolve())
        linked = file.source is not None and path == Path(file.source).resolve()
    except (OSError, ValueError, RuntimeError):  # gone, no path, or links in a circle
        return None
    return path if path.is_file() and (inside or linked) else None


def _problem(text: str, status: int) -> Response:
    return _json({"problem": text}, status)


def _json(value: Any, status: int = 200) -> Response:
    # A name from a disk may hold half a surrogate pair, which UTF-8 cannot encode.
    text = writable(json.dumps(value, ensure_ascii=False, allow_nan=False))
    return Response(text, status, HEADERS, "application/json")
