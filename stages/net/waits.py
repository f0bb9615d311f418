"""How long a server asks to be left alone: the numbers and dates of its headers, read with care."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_seconds(text: str) -> float | None:
    """A number of seconds as a header writes it; None for what is none: words, "NaN", "1e400"."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_retry_after(value: str) -> float | None:
    """The Retry-After header in seconds from now, which holds seconds or a date (RFC 9110, 10.2.3).

    0 where that has passed; None where it cannot be read.
    """
    seconds = read_seconds(value)
    if seconds is None:
        try:
            moment = parsedate_to_datetime(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (moment - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError, TypeError, IndexError):  # whichever part is at fault
            return None
    return max(0.0, seconds)
