"""One gate for each host, key and model, over all steps of a run that call it."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from anyio.lowlevel import RunVar

from engine import Loan, borrow
from stages.calls.day_quota import DayQuota
from stages.calls.rate import CallGate


@dataclass(frozen=True, slots=True)
class Limits:
    """What one step allows: calls in flight, requests and tokens a minute (None: no limit), seconds
    that a call may take, and requests a day."""

    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    timeout: float
    day: DayQuota | None = None


def share_gate(limits: Limits, *, server: str, key: str | None, model: str) -> Loan[CallGate]:
    """The gate of this server, key and model; give it back after use.

    Where the steps that share it allow different rates the lowest ones hold for all of them
    together. Call it on the run's event loop: another run has gates of its own.
    """
    digest = hashlib.sha256((key or "").encode()).hexdigest()
    name = ("call gate", _this_run(), urlsplit(server).netloc, digest, model)
    loan = borrow(name, lambda: _gate(limits), lambda gate: None)
    loan.thing.tighten(
        limits.concurrency,
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.timeout,
        limits.day,
    )
    return loan


def _gate(limits: Limits) -> CallGate:
    rates = (limits.requests_per_minute, limits.tokens_per_minute)
    return CallGate(limits.concurrency, *rates, expected_tokens=0.0, timeout=limits.timeout)


_run: RunVar[object] = RunVar("call gates")


def _this_run() -> object:
    """Stands for the event loop: what waits in a gate belongs to one."""
    try:
        return _run.get()
    except LookupError:
        _run.set(object())
        return _run.get()
