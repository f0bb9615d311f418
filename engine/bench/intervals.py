"""A median and its confidence interval, from a few values of any distribution."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A median, and the interval that holds the true one with 95% confidence."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return short(self.median)
        return f"{short(self.median)} [{short(self.low)} to {short(self.high)}]"

    def times(self, factor: float) -> "Interval":
        """The interval in another unit; `factor` is over 0."""
        return Interval(self.median * factor, self.low * factor, self.high * factor)


def interval(values: Sequence[float]) -> Interval:
    """The median of `values` and its 95% interval by order statistics.

    The interval needs no assumption about the distribution: the k-th smallest and k-th largest
    value bound the true median unless fewer than k of n fall on one side, which has a binomial
    probability (Conover, "Practical Nonparametric Statistics", 3.2). Fewer than six values are too
    few for 95%: then the interval is their whole range. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("there is nothing to take a median of")
    ordered, count = sorted(values), len(values)
    outside, rank = 0.5**count, 0  # the probability that all fall on one given side
    while 2 * outside <= 0.05 and 2 * (rank + 1) < count:
        rank += 1
        outside += math.comb(count, rank) * 0.5**count
    rank = max(rank, 1)
    return Interval(statistics.median(ordered), ordered[rank - 1], ordered[-rank])


def short(value: float) -> str:
    """The value with three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
