"""The time that has passed, by a clock that nobody sets."""

import time


def passed_seconds() -> float:
    """Seconds since some moment, whatever the clock was set to; with those of the system's sleep,
    where it counts them."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
