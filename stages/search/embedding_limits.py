"""How an API is asked for vectors."""

from engine import setting
from stages.calls.settings import CallLimits


class EmbeddingLimits(CallLimits):
    """The settings of other steps that call a paid server, told of vectors."""

    concurrency: int = setting(
        8, "Requests for vectors in flight at once, over all workers.", affects_output=False, gt=0
    )
    requests_per_minute: float | None = setting(
        None,
        "Requests for vectors a minute, at most, evenly spread; none: no limit.",
        affects_output=False,
        gt=0,
        example=60.0,
    )
    tokens_per_minute: float | None = setting(
        None,
        "Tokens for vectors a minute, at most; none: no limit.",
        affects_output=False,
        gt=0,
        example=1e6,
    )
    requests_per_day: int | None = setting(
        None,
        "Requests for vectors in any 24 hours, at most, over runs; none: no limit.",
        affects_output=False,
        gt=0,
        example=1000,
    )
    call_timeout: float = setting(
        60.0, "Seconds that one request for vectors may take.", affects_output=False, gt=0
    )
    call_attempts: int = setting(
        4,
        "Tries at one request for vectors when the server fails or cannot be reached.",
        affects_output=False,
        gt=0,
    )
    rate_patience: float = setting(
        600.0,
        "Seconds that one waits while the server asks to slow down, before its item is put off.",
        affects_output=False,
        ge=0,
    )
    max_requests: int = setting(
        0,
        "Requests for vectors of one step in one run, at most; 0: no limit.",
        affects_output=False,
        ge=0,
    )


ONE_TRY = EmbeddingLimits(call_attempts=1, rate_patience=0.0)
"""For a question of somebody who waits for the answer."""
