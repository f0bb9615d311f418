"""Samples are spread evenly over scenes whose length is not known while they pass."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stages.scenes.cuts.boundaries import Scene
from stages.scenes.cuts.candidates import FOR_EACH, Candidates


def scene(first: int, after: int) -> Scene:
    return Scene(0, first, after, Fraction(first), Fraction(after))


@given(st.integers(1, 2000), st.integers(1, 5))
def test_each_sample_is_near_the_middle_of_its_part(length: int, wanted: int) -> None:
    kept: Candidates[str] = Candidates(wanted)
    for number in range(length):
        kept.offer(number, str(number))
    kept.begin(length)
    samples = kept.take(scene(0, length))

    assert samples == sorted(samples, key=lambda one: one.number)
    assert len({one.number for one in samples}) == len(samples) == min(wanted, length)
    assert all(one.thing == str(one.number) for one in samples)
    for part, sample in enumerate(samples):
        if length >= FOR_EACH * wanted:
            middle = length * (2 * part + 1) / (2 * wanted)
            assert abs(sample.number + 0.5 - middle) <= length / wanted / FOR_EACH + 1


def test_no_more_than_a_bounded_number_is_held() -> None:
    kept: Candidates[int] = Candidates(3)
    for number in range(100_000):
        kept.offer(number, number)
        assert kept.held <= 3 * FOR_EACH


def test_a_scene_begins_with_frames_that_passed_before_its_cut_was_known() -> None:
    kept: Candidates[int] = Candidates(1)
    for number in range(12):
        kept.offer(number, number)
    kept.begin(9)
    for number in range(12, 15):
        kept.offer(number, number)
    [before] = kept.take(scene(0, 9))
    kept.begin(15)
    [after] = kept.take(scene(9, 15))

    assert before.number in (4, 5)
    assert 9 <= after.number < 15
