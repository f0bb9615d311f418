"""The time by which a service waits: no clock that is set holds up a call, or ends a job."""

import time

from engine import passed_seconds

_BEGAN = time.time() - passed_seconds()


def steady_time() -> float:
    """Seconds since the epoch by the clock as it was when this process began, and what has passed
    since then."""
    return _BEGAN + passed_seconds()


def by_the_clock(moment: float) -> float:
    """A moment of the steady time as the clock tells it now."""
    return moment - steady_time() + time.time()
