"""What becomes of work that lacks an answer by the server's fault."""

from typing import Any

from engine import Throttled, Transient
from stages.calls.client import ApiClient

LONGEST_OUTAGE = 3600.0
"""Seconds that items wait for a server that is away, before the wait counts as an attempt."""


def put_off(client: ApiClient[Any, Any], reason: str, kind: str) -> Throttled | Transient:
    """The ending of an item that lacks an answer by the server's fault."""
    gate = client.gate
    # Wait for a server that has not been away for long, as if it had asked for the wait.
    if gate.away and client.proven and gate.away_for < LONGEST_OUTAGE:
        after = max(1.0, gate.next_knock)
        return Throttled(reason, after=after, key=client.host, kind=kind)
    return Transient(reason, kind=kind)
