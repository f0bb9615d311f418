"""What no crawl can go below, and how far it stays above that without need."""

from bisect import bisect_left
from collections.abc import Sequence

from benchmarks.crawl_material import REQUESTS
from benchmarks.harness import Figures
from benchmarks.watches import CoreLook
from engine import available_cores

COMPUTING = ("download", "extract", "filter")
"""The steps that want a core; the others wait for a server, or are soon done."""

SLOT = 0.5
"""Seconds between two looks that are compared, at least."""


def bounds(turns: Sequence[Figures]) -> Figures:
    """What no contestant can go below, in seconds, and the larger of it."""
    processor = min(turn["CPU s"] for turn in turns) / available_cores()
    requests = min(turn["requests"] for turn in turns) / (REQUESTS / 60)
    return {"bound": max(processor, requests), "processor": processor, "requests": requests}


def short_of_limits(
    looks: Sequence[CoreLook], described: Sequence[float], rate: float = REQUESTS / 60
) -> float:
    """Seconds of which neither the cores nor the allowed `rate` a second was made full use of."""
    short, since = 0.0, looks[0]
    for look in looks[1:]:
        seconds = look.clock - since.clock
        if seconds < SLOT and look is not looks[-1]:
            continue
        idle = sum(look.idle) - sum(since.idle)
        answers = bisect_left(described, look.clock) - bisect_left(described, since.clock)
        unused = min(idle / (seconds * len(look.idle)), 1 - answers / (seconds * rate))
        short += seconds * max(0.0, unused)
        since = look
    return short
