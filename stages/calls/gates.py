"""One gate for each host, key and model, over all steps of a run that call it."""

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from anyio.lowlevel import RunVar

from engine import Loan, borrow, shared_gate
from stages.calls.day_quota import DayQuota
from stages.calls.pace import SharedPace
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
    together. Call it on the run's event loop: another run has gates of its own, unless the runs
    name a Redis by which they share them; then the rates hold for all of these.
    """
    host = urlsplit(server).netloc
    # Redis sees this name. The key makes the digest, so it cannot be told from it.
    digest = hmac.new((key or "").encode(), f"{host} {model}".encode(), "sha256").hexdigest()
    name = f"{host} {model} {digest}"
    loan = borrow(("call gate", _this_run(), name), lambda: _gate(limits, name), lambda gate: None)
    loan.thing.tighten(
        limits.concurrency,
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.timeout,
        limits.day,
    )
    return loan


def _gate(limits: Limits, name: str) -> CallGate:
    shared = shared_gate(f"call {name}")
    return CallGate(
        limits.concurrency,
        limits.requests_per_minute,
        limits.tokens_per_minute,
        expected_tokens=0.0,
        timeout=limits.timeout,
        pace=None if shared is None else SharedPace(shared),
    )


_run: RunVar[object] = RunVar("call gates")


def _this_run() -> object:
    """Stands for the event loop: what waits in a gate belongs to one."""
    try:
        return _run.get()
    except LookupError:
        _run.set(object())
        return _run.get()
