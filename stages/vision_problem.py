"""What a server meant when it did not answer: its message, its codes, and how long to wait."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stages.waits import read_retry_after, read_seconds

Remedy = Literal["slow down", "try again", "key", "money", "request", "image"]
"""What would help: a pause, another try, another key, more quota, another request, another image.

"request" is a fault of the model's name, the URL or the parameters, which dooms every image.
"""

_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_BAD_KEY = {"invalid_api_key", "api_key_invalid", "unauthenticated"}
_BAD_MODEL = {"model_not_found", "deploymentnotfound", "invalid_model", "not_found"}
_BAD_IMAGE = re.compile("content_?filter|content_policy|image")
_DURATION = re.compile(r"([\d.]+)s")


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer that was not a success."""

    status: int
    message: str
    """One line, the server's own words; not scrubbed of secrets."""
    codes: frozenset[str]
    """The machine-readable codes, types and reasons in the body, in lower case."""
    parameter: str | None
    """The request's parameter at fault, where the server names one."""
    wait: float | None
    """Seconds to wait, where the server says so."""

    @property
    def remedy(self) -> Remedy:
        if self.codes & _NO_MONEY or self.status == 402 or any("perday" in c for c in self.codes):
            return "money"
        if self.status == 429:
            return "slow down"
        if self.status in (401, 403) or self.codes & _BAD_KEY:
            return "key"
        if self.status in (408, 409, 425) or self.status >= 500:
            return "try again"
        if self.status == 413 or (
            self.status in (400, 422)
            and not self.codes & _BAD_MODEL
            and any(_BAD_IMAGE.search(code) for code in self.codes)
        ):
            return "image"
        return "request"


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """Reads the error bodies of OpenAI, Azure, Gemini, vLLM and Ollama, and whatever else comes."""
    text = body.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except ValueError:
        payload = None
    if isinstance(payload, list) and payload:  # Gemini's OpenAI-compatible endpoint
        payload = payload[0]
    error: Any = payload.get("error", payload) if isinstance(payload, dict) else payload
    message, parameter = text, None
    codes: set[str] = set()
    wait = None
    if isinstance(error, str):
        message = error
    elif isinstance(error, dict):
        message = str(error.get("message") or error.get("detail") or text)
        parameter = error.get("param") or _named_parameter(message)
        codes = {code.lower() for code in _codes(error)}
        wait = _retry_info(error)
    return Problem(
        status=status,
        message=" ".join(message.split()),
        codes=frozenset(codes),
        parameter=parameter,
        wait=_retry_after(headers) or wait,
    )


def _named_parameter(message: str) -> str | None:
    named = re.match(r"Unsupported (?:parameter|value): '(\w+)'", message)
    return named[1] if named else None


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status", "reason", "quotaId"):
        if isinstance(error.get(name), str):
            yield error[name]
    for name in ("innererror", "details", "violations"):
        nested = error.get(name)
        for part in nested if isinstance(nested, list) else [nested]:
            if isinstance(part, Mapping):
                yield from _codes(part)


def _retry_info(error: Mapping[str, Any]) -> float | None:
    """Google's RetryInfo: {"@type": ".../google.rpc.RetryInfo", "retryDelay": "34.07s"}."""
    details = error.get("details")
    for part in details if isinstance(details, list) else []:
        if isinstance(part, Mapping) and (
            delay := _DURATION.fullmatch(str(part.get("retryDelay", "")))
        ):
            return _seconds(delay[1])
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the headers have it; a moment that has passed says 0."""
    if (milliseconds := _seconds(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    return None if (read_seconds(value) or 0.0) < 0 else read_retry_after(value)


def _seconds(text: str) -> float | None:
    value = read_seconds(text)
    return None if value is None or value < 0 else value
