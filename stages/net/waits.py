"""The waits that a server asks for: the numbers and dates in its headers, parsed with care."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_seconds(text: str) -> float | None:
    """A number of seconds from a header; None for anything else: words, "NaN", "1e400"."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_retry_after(value: str) -> float | None:
    """The Retry-After header, seconds or a date, as seconds from now (RFC 9110, 10.2.3).

    0 for a time in the past; None where it cannot be parsed.
    """
    seconds = read_seconds(value)
    if seconds is None:
        try:
            moment = parsedate_to_datetime(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (moment - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError, TypeError, IndexError):  # depending on the invalid part
            return None
    return max(0.0, seconds)
