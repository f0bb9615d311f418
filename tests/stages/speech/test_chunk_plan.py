"""Chunks hold all speech and nothing else, and are cut in silences."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.sound.track import RATE
from stages.speech.chunk_plan import (
    PADDING,
    PAUSE,
    SHORTEST_SILENCE,
    ChunkLimits,
    plan_chunks,
)
from stages.speech.spans import SampleSpan, common, merged, padded, total


def spans(*seconds: tuple[float, float]) -> list[SampleSpan]:
    return [SampleSpan(round(start * RATE), round(end * RATE)) for start, end in seconds]


@st.composite
def tracks(draw: st.DrawFn) -> tuple[list[SampleSpan], int]:
    """Speech in a track, in hundredths of a second."""
    lengths = draw(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 4000)), max_size=40))
    speech, at = [], 0
    for silence, said in lengths:
        start = at + silence * RATE // 100
        at = start + said * RATE // 100
        speech.append(SampleSpan(start, at))
    return speech, at + draw(st.integers(0, 500)) * RATE // 100


limits = st.builds(
    lambda most, usual, overlap: ChunkLimits(
        max(1, most * usual // 100), most, most // 4 if overlap else 0
    ),
    st.integers(8 * RATE, 200 * RATE),
    st.integers(10, 100),
    st.booleans(),
)


@given(tracks(), limits)
def test_all_speech_is_in_the_chunks_and_nothing_twice(track, limit):
    speech, length = track
    chunks = plan_chunks(speech, length, limit)
    pieces = [piece for chunk in chunks for piece in chunk.pieces]

    assert all(0 < chunk.length <= limit.most for chunk in chunks)
    assert all(0 <= piece.start < piece.end <= length for piece in pieces)
    assert total(common(merged(speech), merged(pieces))) == total(merged(speech))
    shared = sum(chunk.after.length for chunk in chunks if chunk.after)
    assert total(pieces) == total(merged(pieces)) + shared
    # No more silence than is meant to be around speech, or shorter than a pause.
    assert merged(pieces) == merged(padded(speech, PADDING, length), PAUSE)
    for chunk in chunks:
        assert list(chunk.speech) == common(merged(speech), chunk.pieces)


@given(tracks(), limits)
def test_chunks_are_cut_in_silences_where_there_are_any(track, limit):
    speech, length = track
    chunks = plan_chunks(speech, length, limit)
    for one, after in pairwise(chunks):
        assert one.after == after.before
        end, begin = one.pieces[-1].end, after.pieces[0].start
        if one.after is None:
            quiet = [
                (a.end, b.start)
                for a, b in pairwise(merged(speech))
                if b.start - a.end >= SHORTEST_SILENCE
            ]
            assert any(start <= end <= begin <= stop for start, stop in quiet)
            continue
        assert end - begin == one.after.length == limit.overlap // 2 * 2
        # Nowhere in the chunk could it have been cut instead.
        inside = common(speech, [SampleSpan(one.pieces[0].start + PADDING, end)])
        assert all(b.start - a.end < SHORTEST_SILENCE for a, b in pairwise(inside))


@pytest.mark.parametrize(
    ("minutes", "count"), [(0.1, 1), (14, 1), (15, 1), (16, 2), (30, 2), (60, 4), (61, 5)]
)
def test_there_are_as_many_chunks_as_quarters_of_an_hour(minutes: float, count: int) -> None:
    """With a pause of half a second every four and a half."""
    length = round(minutes * 60 * RATE)
    speech = [SampleSpan(at, at + 9 * RATE // 2) for at in range(0, length - 5 * RATE, 5 * RATE)]
    chunks = plan_chunks(speech, length, ChunkLimits(900 * RATE, 1400 * RATE, 4 * RATE))
    assert len(chunks) == count
    assert max(chunk.length for chunk in chunks) <= 905 * RATE
    assert max(chunk.length for chunk in chunks) - min(chunk.length for chunk in chunks) < 11 * RATE


def test_long_silences_are_left_out() -> None:
    [chunk] = plan_chunks(spans((10, 12), (12.5, 14), (100, 101)), 200 * RATE, _short())
    assert chunk.pieces == tuple(spans((9.6, 14.4), (99.6, 101.4)))


def test_speech_without_a_silence_is_cut_with_an_overlap() -> None:
    chunks = plan_chunks(spans((0, 70)), 70 * RATE, _short())
    assert [chunk.length <= 30 * RATE for chunk in chunks] == [True] * 3
    assert [chunk.after.length if chunk.after else 0 for chunk in chunks] == [4 * RATE] * 2 + [0]


def test_where_there_is_no_speech_there_is_no_chunk() -> None:
    assert plan_chunks([], 100 * RATE, _short()) == []


def _short() -> ChunkLimits:
    return ChunkLimits(30 * RATE, 30 * RATE, 4 * RATE)
