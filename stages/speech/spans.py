"""Stretches of a track, in samples. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class SampleSpan(NamedTuple):
    """The samples from `start` to before `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def merged(spans: Iterable[SampleSpan], closer: int = 0) -> list[SampleSpan]:
    """Spans in order, those that touch, overlap, or are less than `closer` apart as one."""
    found: list[SampleSpan] = []
    for span in sorted(spans):
        if found and span.start - found[-1].end < max(closer, 1):
            found[-1] = SampleSpan(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def padded(spans: Iterable[SampleSpan], by: int, length: int) -> list[SampleSpan]:
    """The spans with `by` samples more at each end, within a track of `length` samples; merged."""
    return merged(SampleSpan(max(0, one.start - by), min(length, one.end + by)) for one in spans)


def common(spans: Sequence[SampleSpan], others: Sequence[SampleSpan]) -> list[SampleSpan]:
    """What lies in a span of each of two sequences, which are in order and do not overlap."""
    found, one, other = [], 0, 0
    while one < len(spans) and other < len(others):
        start = max(spans[one].start, others[other].start)
        end = min(spans[one].end, others[other].end)
        if start < end:
            found.append(SampleSpan(start, end))
        if spans[one].end < others[other].end:
            one += 1
        else:
            other += 1
    return found


def total(spans: Iterable[SampleSpan]) -> int:
    """Samples in all."""
    return sum(span.length for span in spans)
