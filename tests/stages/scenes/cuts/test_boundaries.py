"""Cuts become scenes that tile the video, whatever the cuts."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stages.scenes.cuts.boundaries import Boundaries, Scene, nearest


def scenes_of(
    times: Sequence[Fraction],
    end: Fraction,
    cuts: Iterable[int] = (),
    *,
    shortest: Fraction = Fraction(0),
    longest: Fraction | None = None,
    late: int = 0,
) -> list[Scene]:
    """The scenes of frames shown at `times`; each cut is told `late` frames after it."""
    boundaries, found = Boundaries(shortest, longest), []
    told = {cut + late: times[cut] for cut in cuts}
    for number, time in enumerate(times):
        cut = [told.pop(number)] if number in told else []
        found += boundaries.frame(time, cut)
    return [*found, *boundaries.end(end, told.values())]


def seconds(*numbers: float) -> list[Fraction]:
    return [Fraction(str(number)) for number in numbers]


@st.composite
def videos(draw: st.DrawFn) -> tuple[list[Fraction], Fraction, list[int]]:
    """Frames that are shown for a tenth of a second or longer, and cuts at some."""
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=60))
    times = [Fraction(sum(lengths[:at]), 10) for at in range(len(lengths) + 1)]
    cuts = draw(st.lists(st.integers(0, len(lengths) - 1), unique=True, max_size=12))
    return times[:-1], times[-1], sorted(cuts)


@given(videos(), st.integers(0, 40), st.none() | st.integers(1, 80), st.integers(0, 5))
def test_scenes_follow_each_other_from_the_first_frame_to_the_end(video, shortest, longest, late):
    times, end, cuts = video
    found = scenes_of(
        times,
        end,
        cuts,
        shortest=Fraction(shortest, 10),
        longest=None if longest is None else Fraction(longest, 10),
        late=late,
    )

    assert [scene.index for scene in found] == list(range(len(found)))
    assert (found[0].first, found[0].start) == (0, times[0])
    assert (found[-1].after, found[-1].end) == (len(times), end)
    for one, after in pairwise(found):
        assert (one.after, one.end) == (after.first, after.start)
    for scene in found:
        assert scene.first < scene.after
        assert scene.start == times[scene.first]
        is_long_enough = scene.end - scene.start >= Fraction(shortest, 10)
        # Only what a scene before it was handed on without may end the video too soon.
        assert is_long_enough or scene is found[-1]


@given(videos(), st.integers(0, 5))
def test_without_bounds_every_cut_begins_a_scene(video, late):
    times, end, cuts = video
    found = scenes_of(times, end, cuts, late=late)
    assert [scene.first for scene in found] == sorted({0, *cuts})


def test_a_last_scene_that_is_too_short_belongs_to_the_one_before() -> None:
    times = seconds(0, 1, 2, 3, 4, 5)
    found = scenes_of(times, Fraction(6), [2, 5], shortest=Fraction(2))
    assert [(scene.first, scene.after) for scene in found] == [(0, 2), (2, 6)]


def test_what_is_never_cut_ends_all_the_same() -> None:
    times = [Fraction(second) for second in range(25)]
    found = scenes_of(times, Fraction(25), shortest=Fraction(2), longest=Fraction(10))
    assert [(scene.first, scene.after) for scene in found] == [(0, 10), (10, 20), (20, 25)]


def test_a_cut_soon_after_the_greatest_length_is_where_the_scene_ends() -> None:
    times = [Fraction(second) for second in range(20)]
    found = scenes_of(times, Fraction(20), [11], shortest=Fraction(2), longest=Fraction(10))
    assert [scene.first for scene in found] == [0, 11]


def test_the_earlier_of_two_equally_near_times_is_taken() -> None:
    assert nearest(seconds(0, 1, 2), Fraction("0.5")) == 0
    assert nearest(seconds(0, 1, 2), Fraction("0.6")) == 1
    assert nearest(seconds(0, 1, 2), Fraction(9)) == 2
