"""The meaning of an unsuccessful response: its message, its codes, and the
wait that it asks for."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stages.net.waits import read_retry_after, read_seconds

Remedy = Literal["slow down", "try again", "key", "money", "request", "image"]
"""The remedy: a pause, another try, another key, more quota, another request, another image (or
whatever else the question is about).

"request" is a fault of the model's name, the URL or the parameters, which fails every question.
"""

_NO_MONEY = {
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
    *("exceeded_current_quota_error", "insufficient_balance", "insufficient_credits"),
}
_BAD_KEY = {"invalid_api_key", "api_key_invalid", "unauthenticated"}
_BAD_MODEL = {"model_not_found", "deploymentnotfound", "invalid_model", "not_found"}
_BAD_CONTENT = re.compile("content_?filter|content_policy|moderation|flagged")
_BAD_IMAGE = re.compile(f"{_BAD_CONTENT.pattern}|image")

AWAY = {408, 425, 499, 502, 503, 504, 507, 509, 598, 599, *range(520, 531)}
"""The server, or a proxy before it, could not handle the request: no question is to blame."""

_MEANINGS = [
    (429, re.compile("rate_?limit|too_?many|resource_?exhausted|throttl|slow_?down")),
    (503, re.compile("overload|unavailable|timeout|timed_?out|capacity")),
    (401, re.compile("api_?key|unauthenticated|authentication")),
    (404, re.compile("not_?found|model_?not")),
    (400, re.compile(f"{_BAD_IMAGE.pattern}|invalid_?(request|argument)|bad_?request|context")),
]
"""The statuses for textual codes, where an error comes without a number."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One unsuccessful response."""

    status: int
    message: str
    """The server's own words in one line; they may hold secrets."""
    codes: frozenset[str]
    """The machine-readable codes, types and reasons in the body, in lower case."""
    parameter: str | None
    """The request's parameter at fault, where the server names one."""
    wait: float | None
    """Seconds to wait, None if the server names none."""

    @property
    def remedy(self) -> Remedy:
        if self.codes & _NO_MONEY or any("perday" in code for code in self.codes):
            return "money"
        if self.status == 402:  # one that says until when is a budget of requests in flight
            return "slow down" if self.wait else "money"
        if self.status == 429:
            return "slow down"
        if self.status == 403 and any(_BAD_CONTENT.search(code) for code in self.codes):
            return "image"
        if self.status in (401, 403) or self.codes & _BAD_KEY:
            return "key"
        if self.status in (408, 409, 425, 499) or (self.status >= 500 and self.status != 501):
            return "try again"
        if self.status == 413 or (
            self.status in (400, 422)
            and not self.codes & _BAD_MODEL
            and any(_BAD_IMAGE.search(code) for code in self.codes)
        ):
            return "image"
        return "request"

    @property
    def is_away(self) -> bool:
        """Whether the server could not be reached, rather than failed at this very request."""
        return self.status in AWAY

    @property
    def names_model(self) -> bool:
        """Whether it says explicitly that there is no such model."""
        return bool(self.codes & _BAD_MODEL)


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """The problem in an error body of OpenAI, Azure, Gemini, vLLM, Ollama or any other server."""
    text = body.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, list) and payload:  # Gemini's OpenAI-compatible endpoint
        payload = payload[0]
    error = (payload.get("error") or payload) if isinstance(payload, dict) else payload
    return _problem(status, headers, error, text)


def problem_within(payload: Any, headers: Mapping[str, str]) -> Problem | None:
    """The error inside the JSON of a successful response, with the status that it names; None if
    there is none.

    Gateways answer 200 before the model does, and put a later error into the body or, as OpenRouter
    does, into the choice. Without a code it counts as the server's own fault, a 500.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return None
    error = payload.get("error") or _in_a_choice(payload)
    if not error and not payload.keys() & {"choices", "candidates"} and "message" in payload:
        error = payload
    if not error:
        return None
    told = error if isinstance(error, dict) else {}
    names = ("code", "status_code", "statusCode", "status", "http_status")
    numbers = [_status(place.get(name)) for place in (told, payload) for name in names]
    codes = {code.lower() for code in _codes(told)}
    if isinstance(error, str):
        codes = {error.lower().replace(" ", "_")}
    meant = [status for status, words in _MEANINGS if any(map(words.search, codes))]
    known = [number for number in numbers if number is not None]
    return _problem([*known, *meant, 500][0], headers, error, json.dumps(error)[:1000])


def _in_a_choice(payload: Mapping[str, Any]) -> Any:
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return None
    message = choice.get("message")
    return choice.get("error") or (message.get("error") if isinstance(message, dict) else None)


def _status(value: Any) -> int | None:
    """An HTTP status of an error; None for anything else."""
    if isinstance(value, bool) or not re.fullmatch("[45][0-9][0-9]", str(value)):
        return None
    return int(value)


def _problem(status: int, headers: Mapping[str, str], error: Any, text: str) -> Problem:
    message, parameter, wait = text, None, None
    codes: set[str] = set()
    if isinstance(error, str):
        message = error
    elif isinstance(error, dict):
        message = str(error.get("message") or error.get("detail") or text)
        parameter = error.get("param") or _named_parameter(message)
        codes = {code.lower() for code in _codes(error)}
        wait = _retry_info(error)
    if 300 <= status < 400 and "location" in headers:
        message = f"it redirects to {headers['location'].partition('?')[0]}"
    return Problem(
        status=status,
        message=" ".join(message.split()),
        codes=frozenset(codes),
        parameter=parameter if isinstance(parameter, str) else None,
        wait=_retry_after(headers) or wait,
    )


def _named_parameter(message: str) -> str | None:
    named = re.match(r"Unsupported (?:parameter|value): '(\w+)'", message)
    return named[1] if named else None


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status", "reason", "quotaId"):
        if isinstance(error.get(name), str):
            yield error[name]
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and ("flagged_input" in metadata or "reasons" in metadata):
        yield "flagged"  # OpenRouter: a model's moderation turned the input away
    for name in ("innererror", "details", "violations"):
        nested = error.get(name)
        for part in nested if isinstance(nested, list) else [nested]:
            if isinstance(part, Mapping):
                yield from _codes(part)


def _retry_info(error: Mapping[str, Any]) -> float | None:
    """Google's RetryInfo: {"@type": ".../google.rpc.RetryInfo", "retryDelay": "34.07s"}."""
    details = error.get("details")
    for part in details if isinstance(details, list) else []:
        if isinstance(part, Mapping):
            number, unit, rest = str(part.get("retryDelay", "")).rpartition("s")
            if unit and not rest and (delay := _seconds(number)) is not None:
                return delay
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers; a time in the past gives 0."""
    if (milliseconds := _seconds(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    return None if (read_seconds(value) or 0.0) < 0 else read_retry_after(value)


def _seconds(text: str) -> float | None:
    value = read_seconds(text)
    return None if value is None or value < 0 else value
