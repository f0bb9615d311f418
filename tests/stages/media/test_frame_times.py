"""When frames are shown, from stamps that are right, wrong, missing and in another order."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.media.frame_times import shown_times

STEP = 40
GRID = [index * STEP for index in range(150)]


def changed(changes: dict[int, int]) -> list[int]:
    """The stamps of 150 frames, those at these indices off by so much."""
    return [ticks + changes.get(index, 0) for index, ticks in enumerate(GRID)]


@given(st.lists(st.integers(0, 10**9)), st.integers(1, 1000))
def test_stamps_that_never_go_back_are_the_times(stamps, frame_duration):
    stamps = sorted(stamps)
    found = shown_times(stamps, frame_duration)

    assert found.ticks == stamps
    assert not found.disbelieved
    assert not found.restarts


@given(st.lists(st.none() | st.integers(-(10**9), 10**9)), st.integers(1, 1000))
def test_whatever_the_stamps_each_frame_has_a_time_and_none_goes_back(stamps, frame_duration):
    ticks = shown_times(stamps, frame_duration).ticks

    assert len(ticks) == len(stamps)
    assert all(a <= b for a, b in pairwise(ticks))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.integers(1, 148), st.integers(-(10**8), 10**8).filter(lambda off: abs(off) > 2000)
    )
)
def test_stamps_that_their_neighbours_contradict_move_nothing(outliers):
    outliers = {i: off for i, off in outliers.items() if i % 4 == 1}
    found = shown_times(changed(outliers), STEP)

    assert found.ticks == GRID
    assert found.disbelieved == set(outliers)
    assert not found.restarts


@settings(deadline=None)
@given(st.lists(st.integers(-2 * STEP, 2 * STEP), min_size=150, max_size=150))
def test_stamps_a_little_off_move_no_time_by_more_than_that(jitter):
    found = shown_times([ticks + off for ticks, off in zip(GRID, jitter, strict=True)], STEP)

    assert all(abs(a - b) <= 2 * STEP for a, b in zip(found.ticks, GRID, strict=True))


@pytest.mark.parametrize(
    "coded", [[2, 1], [3, 1, 2], [4, 2, 1, 3], [5, 3, 1, 2, 4], [8, 4, 2, 1, 3, 6, 5, 7]]
)
def test_decoding_times_in_place_of_presentation_times_become_those(coded):
    """`coded`: the frames of each group in the order in which they are decoded."""
    order = [0] + [first + place for first in range(0, 144, len(coded)) for place in coded]
    decoded_at = {frame: index * STEP for index, frame in enumerate(order)}
    stamps = [decoded_at[frame] for frame in sorted(decoded_at)]

    assert shown_times(stamps, STEP).ticks == [index * STEP for index in range(len(order))]


@settings(deadline=None)
@given(st.lists(st.integers(20, 60), min_size=2, max_size=5), st.integers(0, 10**7))
def test_a_clock_that_is_set_back_for_good_begins_a_recording_that_follows_on(lengths, back):
    stamps, clock = [], 10**9
    for length in lengths:
        stamps += [clock + index * STEP for index in range(length)]
        clock -= back
    found = shown_times(stamps, STEP)

    assert [ticks - found.ticks[0] for ticks in found.ticks] == [
        index * STEP for index in range(sum(lengths))
    ]
    assert found.restarts == set(accumulate(lengths[:-1]))
    assert not found.disbelieved


@pytest.mark.parametrize(
    ("stamps", "expected", "restarts"),
    [
        ([0, 1, 2, 50_000, 50_001], [0, 1, 2, 50_000, 50_001], set()),
        ([None, None, 80, 120, None, 200], [0, 40, 80, 120, 160, 200], set()),
        ([0, 40, None, None, 100, 140], [0, 40, 60, 80, 100, 140], set()),
        ([0, 40, None, None, 9000], [0, 40, 80, 120, 9000], set()),
        ([0, 40, 80, 120, 60, 100, 140, 180], [0, 40, 60, 80, 100, 120, 140, 180], set()),
        ([0, 40, 80, 120, 40, 80, 120, 160], [0, 40, 80, 120, 160, 200, 240, 280], {4}),
        ([None] * 3, [0, 40, 80], set()),
        ([], [], set()),
    ],
    ids=[
        "a gap is kept",
        "missing stamps",
        "missing stamps with little room",
        "missing stamps before a gap",
        "a step back by a frame and a half",
        "an edit that repeats frames",
        "no stamps",
        "nothing",
    ],
)
def test_what_becomes_of_stamps(stamps, expected, restarts):
    found = shown_times(stamps, STEP)

    assert list(found.ticks) == expected
    assert found.restarts == restarts


def test_many_wrong_stamps_in_a_row_are_not_believed_if_the_clock_returns_to_its_place():
    found = shown_times(changed(dict.fromkeys(range(40, 90), 10**7)), STEP)

    assert found.ticks == GRID
    assert found.disbelieved == set(range(40, 90))


def test_the_first_and_the_next_to_last_stamp_may_be_wrong():
    assert shown_times(changed({0: 10**7}), STEP).ticks == GRID
    assert shown_times(changed({148: 10**7}), STEP).ticks == GRID
