"""The median and its interval against known answers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.intervals import Interval, interval


def test_a_few_values_are_bounded_by_their_range() -> None:
    assert interval([3.0]) == Interval(3.0, 3.0, 3.0)
    assert interval([5.0, 1.0, 2.0]) == Interval(2.0, 1.0, 5.0)


@pytest.mark.parametrize(
    ("count", "rank"),
    [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (25, 8)],  # Conover, Table A3, 95%
)
def test_the_interval_is_the_textbooks(count: int, rank: int) -> None:
    found = interval([float(value) for value in range(1, count + 1)])
    assert (found.low, found.high) == (rank, count + 1 - rank)


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    draw = random.Random(1)
    held = 0
    for _ in range(2000):
        found = interval([draw.expovariate(1.0) for _ in range(11)])
        held += found.low <= 0.693147 <= found.high
    assert 0.95 <= held / 2000 <= 0.999


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_an_interval_holds_its_median(values: list[float]) -> None:
    found = interval(values)
    assert found.low <= found.median <= found.high


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="nothing"):
        interval([])


def test_another_unit_changes_no_proportion() -> None:
    assert Interval(2.0, 1.0, 3.0).times(60) == Interval(120.0, 60.0, 180.0)
    assert str(Interval(2.0, 1.0, 3.0)) == "2.00 [1.00 to 3.00]"
    assert str(Interval(2.0, 2.0, 2.0)) == "2.00", "one value has no interval to speak of"
