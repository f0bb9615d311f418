"""From a step's settings to a client that keeps to them, and to the gate that steps share."""

from collections.abc import Callable

from stages.calls.api import PaidAPI, Q, R
from stages.calls.client import ApiClient
from stages.calls.day_quota import DayQuota
from stages.calls.gates import Limits, share_gate
from stages.calls.settings import CallLimits


def open_api_client(
    api: PaidAPI[Q, R],
    settings: CallLimits,
    *,
    server: str,
    model: str,
    key: str | None,
    key_name: str,
    step: str,
    requests_per_minute: float | None,
    tokens_per_minute: float | None = None,
    day: DayQuota | None = None,
    advice: str = "",
    too_large: str = "",
    worked: Callable[[], bool] = lambda: False,
    expected_tokens: float | None = None,
) -> ApiClient[Q, R]:
    """A client for the step of this name; close it after use.

    Steps that call one `model` of one `server` with one key pass one gate. The rest: see ApiClient.
    """
    limits = Limits(
        settings.concurrency, requests_per_minute, tokens_per_minute, settings.call_timeout, day
    )
    loan = share_gate(limits, server=server, key=key, model=model)
    try:
        return ApiClient(
            api,
            loan.thing,
            key=key,
            key_name=key_name,
            timeout=settings.call_timeout,
            attempts=settings.call_attempts,
            patience=settings.rate_patience,
            max_requests=settings.max_requests,
            step=f"stages.{step}",
            advice=advice,
            too_large=too_large,
            worked=worked,
            expected_tokens=expected_tokens,
            loan=loan,
        )
    except BaseException:
        loan.give_back()
        raise
