"""Which frames are chosen, as properties over any video's timestamps."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.media.sampling import Sampler, Sampling, at_rate, choose, evenly_spread, every_frame

ticks = st.integers(0, 20_000)


@st.composite
def videos(draw: st.DrawFn) -> tuple[list[Fraction], list[bool], Fraction]:
    """Frame times at a variable rate, the first at 0; which are keyframes; when the last ends."""
    base = draw(st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1001, 30_000)]))
    stamps = sorted(draw(st.sets(ticks, min_size=1, max_size=60)) | {0})
    times = [stamp * base for stamp in stamps]
    keyframes = draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times)))
    return times, keyframes, times[-1] + draw(st.integers(1, 500)) * base


seconds = st.fractions(0, 15, max_denominator=1000)
rates = st.fractions(Fraction(1, 20), 60, max_denominator=1001)
limits = st.none() | st.integers(1, 8)


@settings(deadline=None)
@given(videos(), rates, seconds, st.none() | seconds, limits)
def test_a_rate_takes_the_frame_being_shown_at_each_moment(video, fps, start, length, limit):
    times, keyframes, until = video
    end = None if length is None else start + length
    stop = until if end is None else min(end, until)
    moments = []
    while (moment := start + len(moments) / fps) < stop:
        moments.append(moment)
    expected = []
    for moment in moments:
        shown = max(index for index, time in enumerate(times) if time <= moment)
        if shown not in expected:
            expected.append(shown)

    assert choose(at_rate(fps, start, end, limit), times, keyframes, until) == expected[:limit]


@given(videos(), st.integers(1, 30), st.none() | seconds, limits)
def test_a_count_is_spread_evenly_and_never_exceeded(video, count, start, limit):
    times, keyframes, until = video
    start = min(start or Fraction(0), until / 2)
    chosen = choose(evenly_spread(count, start, until, limit), times, keyframes, until)

    assert 1 <= len(chosen) <= min(count, limit or count)
    if limit is None:
        shown = {
            max(i for i, time in enumerate(times) if time <= start + (until - start) * part)
            for part in (Fraction(2 * k + 1, 2 * count) for k in range(count))
        }
        assert set(chosen) == shown


@given(videos(), seconds, st.none() | seconds, st.booleans(), limits)
def test_every_frame_or_keyframe_that_begins_in_the_range(video, start, length, only, limit):
    times, keyframes, until = video
    end = None if length is None else start + length
    expected = [
        index
        for index, (time, keyframe) in enumerate(zip(times, keyframes, strict=True))
        if time >= start and (end is None or time < end) and (keyframe or not only)
    ]

    assert choose(every_frame(start, end, only, limit), times, keyframes, until) == expected[:limit]


samplings = st.one_of(
    st.builds(at_rate, rates, seconds, st.none() | seconds, limits),
    st.builds(
        evenly_spread, st.integers(1, 20), st.just(Fraction(0)), st.just(Fraction(5)), limits
    ),
    st.builds(every_frame, seconds, st.none() | seconds, st.booleans(), limits),
)


@given(videos(), samplings)
def test_frames_come_in_order_none_twice_none_from_outside(video, sampling: Sampling):
    times, keyframes, until = video
    chosen = choose(sampling, times, keyframes, until)

    assert chosen == sorted(set(chosen))
    assert sampling.max_frames is None or len(chosen) <= sampling.max_frames
    for index in chosen:
        shown_until = [*times, until][index + 1]
        assert shown_until > sampling.start
        assert sampling.end is None or times[index] < sampling.end


@given(videos(), samplings)
def test_once_finished_nothing_more_is_wanted(video, sampling: Sampling):
    times, keyframes, until = video
    sampler = Sampler(sampling)
    for time, shown_until, keyframe in zip(times, [*times[1:], until], keyframes, strict=True):
        finished_before = sampler.finished
        wanted = sampler.wants(time, shown_until, keyframe)
        assert not (wanted and finished_before)


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(1, 3)])
def test_sampling_at_the_video_s_own_rate_takes_every_frame_however_long_it_is(fps):
    times = [index / fps for index in range(5000)]

    chosen = choose(
        at_rate(fps, Fraction(0), None, None), times, [False] * 5000, times[-1] + 1 / fps
    )

    assert chosen == list(range(5000))


def test_one_frame_of_a_video_is_its_middle():
    times = [Fraction(index, 10) for index in range(100)]

    assert choose(evenly_spread(1, Fraction(0), Fraction(10)), times, [False] * 100, 10) == [50]


@given(videos(), st.integers(1, 30))
def test_with_the_times_of_all_frames_a_count_gives_as_many_as_there_are(video, count):
    times, keyframes, until = video
    plain = choose(evenly_spread(count, Fraction(0), until), times, keyframes, until)
    sampling = evenly_spread(count, Fraction(0), until, None, times)
    chosen = choose(sampling, times, keyframes, until)
    lengths = [b - a for a, b in pairwise([*times, until])]

    assert len(chosen) == min(count, sum(length > 0 for length in lengths))
    if len(plain) == len(chosen):
        assert chosen == plain


def test_a_gap_takes_no_part_from_the_frames_around_it():
    times = [*map(Fraction, range(10)), *map(Fraction, range(1000, 1010))]
    keyframes = [False] * 20
    end = Fraction(1010)

    assert choose(evenly_spread(5, Fraction(0), end), times, keyframes, end) == [9]
    spread = evenly_spread(5, Fraction(0), end, None, times)
    assert choose(spread, times, keyframes, end) == [2, 7, 9, 12, 17]
    part = evenly_spread(5, Fraction(5), Fraction(100), None, times)
    assert choose(part, times, keyframes, end) == [5, 6, 7, 8, 9]
