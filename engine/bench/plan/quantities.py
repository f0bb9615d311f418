"""Durations and rates as a person types them: "24h", "300/h"."""

import math
import re

from engine.contract.errors import UsageError

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(text: str, option: str) -> float:
    """A duration such as "24h", "90m", "1d12h" in seconds. Raises UsageError, naming the option."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])", text)
    whole = re.fullmatch(r"(?:\d+(?:\.\d+)?\s*(?:min|[smhdw])\s*)+", text.strip())
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if whole is None or not 0 < seconds < math.inf:
        raise UsageError(f"{option} {text}: is no duration; give one such as 24h, 90m or 7d")
    return seconds


def rate_of(text: str, option: str) -> tuple[str, float]:
    """The name and the number per second in "HOST=300/h". Raises UsageError, naming the option."""
    name, equals, rate = text.rpartition("=")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(min|[smhdw])", rate.strip())
    if not equals or not name.strip() or found is None or not float(found[1]) > 0:
        raise UsageError(
            f"{option} {text}: is no rate; give one such as example.org=300/h or requests=600/m"
        )
    return name.strip(), float(found[1]) / SECONDS[found[2]]
