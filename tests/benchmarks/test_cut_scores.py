"""The score of a detector of cuts, against a count of all pairings."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cut_scores import CutScore, score_cuts

some_cuts = st.lists(st.integers(0, 12), max_size=4, unique=True)


def most_pairs(found: list[int], real: list[int], tolerance: int) -> int:
    few, many = sorted((found, real), key=len)
    return max(
        sum(abs(one - other) <= tolerance for one, other in zip(few, order, strict=True))
        for order in permutations(many, len(few))
    )


@given(some_cuts, some_cuts, st.integers(0, 4))
def test_as_many_cuts_are_paired_as_can_be(found, real, tolerance):
    score = score_cuts(found, real, tolerance)
    assert score.hits == most_pairs(found, real, tolerance)
    assert score.hits + score.false == len(found)
    assert score.hits + score.missed == len(real)
    assert score_cuts(real, found, tolerance) == CutScore(score.hits, score.missed, score.false)


def test_one_cut_counts_once():
    assert score_cuts([10, 11], [10], 2) == CutScore(1, 1, 0)
    assert score_cuts([10], [9, 11], 2) == CutScore(1, 0, 1)
    assert score_cuts([10, 20], [12, 23], 2) == CutScore(1, 1, 1)


def test_the_shares():
    score = score_cuts([10, 20, 30, 99], [10, 20, 40], 0)
    assert (score.precision, score.recall) == (0.5, pytest.approx(2 / 3))
    assert score.f1 == pytest.approx(4 / 7)
    assert score_cuts([], [], 0).f1 == 1.0
    assert score_cuts([], [5], 0).f1 == 0.0
