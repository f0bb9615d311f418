"""Whether an object store's server and this machine agree on the time: a request is signed with it,
and refused like one with a wrong key where they are minutes apart."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from engine import Throttled

APART = 240.0
"""Seconds: fewer than any server forgives, and more than a slow answer takes."""

SECONDS = 10.0
"""What the question may take."""

AGAIN = 60.0
"""Seconds until it is looked again whether the clock was set."""


async def check_clock(server: str, host: str) -> None:
    """Raises Throttled where this machine's clock and the server's, which stands in each of its
    answers, are apart: no item is at fault, and setting the clock is all that it takes."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            answer = await client.head(server)
        there = parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
    except (httpx.HTTPError, KeyError, ValueError, TypeError):
        return
    apart = (datetime.now(UTC) - there).total_seconds()
    if abs(apart) > APART:
        which = "ahead of" if apart > 0 else "behind"
        raise Throttled(
            f"this machine's clock is {abs(apart) / 60:.0f} min {which} that of {host}, which "
            "therefore refuses its key; set the clock",
            after=AGAIN,
            key=host,
        )
