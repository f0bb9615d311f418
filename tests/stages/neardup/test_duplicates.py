"""The choice of the copies that stay keeps its promises, however many are alike."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.neardup import duplicates as neardup
from stages.neardup.duplicates import Choice, Frames, choose
from stages.neardup.hamming import pairs_within
from tests.stages.hashes import array, clusters, distances, hash_lists, unhurried


def make_frames(found: NDArray[np.uint64], seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    count = len(found)
    return Frames(
        hashes=found,
        pixels=random.choice([640 * 360, 640 * 480], count),
        colour=random.integers(0, 2, count),
        clarity=random.choice([-3, 0, 1], count),
        painted=random.choice([0, 1], count),
        timestamps=random.choice([0.0, 1.0, 2.0], count),
        videos=random.integers(0, 3, count),
        files=np.arange(count),
    )


def shuffled(frames: Frames, order: NDArray[np.int64]) -> Frames:
    return Frames(
        frames.hashes[order],
        frames.pixels[order],
        frames.colour[order],
        frames.clarity[order],
        frames.painted[order],
        frames.timestamps[order],
        frames.videos[order],
        frames.files[order],
    )


def walk(frames: Frames, distance: int) -> dict[int, tuple[int, int]]:
    """What `choose` promises, done the plain way: file -> (kept file, distance)."""
    best_first = sorted(
        range(len(frames)),
        key=lambda n: (
            -frames.pixels[n],
            not frames.colour[n],
            -frames.clarity[n],
            frames.painted[n],
            frames.timestamps[n],
            frames.videos[n],
            frames.files[n],
        ),
    )

    def apart(one: int, other: int) -> int:
        return (int(frames.hashes[one]) ^ int(frames.hashes[other])).bit_count()

    kept: list[int] = []
    for frame in best_first:
        if all(apart(frame, other) > distance for other in kept):
            kept.append(frame)
    answer = {}
    for frame in best_first:
        nearest = min(kept, key=lambda other: apart(frame, other))  # the first of equals: the best
        answer[int(frames.files[frame])] = (int(frames.files[nearest]), apart(frame, nearest))
    return answer


def by_file(frames: Frames, choice: Choice) -> dict[int, tuple[int, int]]:
    return {
        int(frames.files[n]): (int(frames.files[choice.nearest[n]]), int(choice.distance[n]))
        for n in range(len(frames))
    }


@unhurried
@given(values=hash_lists, distance=distances, seed=st.integers(0, 9))
def test_choice_is_that_of_a_plain_walk(values: list[int], distance: int, seed: int) -> None:
    frames = make_frames(array(values), seed)
    assert by_file(frames, choose(frames, distance)) == walk(frames, distance)


@pytest.mark.parametrize("distance", [0, 4, 8, 16])
def test_the_promises_hold_among_thousands_and_across_halvings(
    distance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_frames(clusters(seed=1, count=60, size=100, radius=4))
    whole = choose(frames, distance)
    monkeypatch.setattr(neardup, "MANY_PAIRS", 0)
    halved = choose(frames, distance)
    assert np.array_equal(whole.nearest, halved.nearest)

    kept = np.flatnonzero(whole.kept)
    assert pairs_within(frames.hashes[kept], distance)[0].size == 0
    assert (whole.kept[whole.nearest]).all()
    apart = np.bitwise_count(frames.hashes ^ frames.hashes[whole.nearest])
    assert np.array_equal(apart, whole.distance)
    assert (apart <= distance).all()
    assert np.array_equal(whole.nearest[kept], kept)


@unhurried
@given(values=hash_lists, distance=distances, data=st.data())
def test_the_choice_does_not_depend_on_the_order(
    values: list[int], distance: int, data: st.DataObject
) -> None:
    frames = make_frames(array(values))
    order = np.array(data.draw(st.permutations(range(len(values)))), np.int64)
    other = shuffled(frames, order)
    assert by_file(frames, choose(frames, distance)) == by_file(other, choose(other, distance))


def test_pixels_then_colour_then_clarity_then_nothing_painted_then_the_earlier_win() -> None:
    names = ("pixels", "colour", "clarity", "painted", "timestamps", "videos", "files")

    def best(**columns: list[float]) -> int:
        same: dict[str, list[float]] = {name: [1, 1] for name in names}
        arrays = {name: np.array(values) for name, values in (same | columns).items()}
        choice = choose(Frames(hashes=array([7, 7]), **arrays), 0)
        return int(np.flatnonzero(choice.kept)[0])

    assert best(pixels=[1, 2], colour=[1, 0]) == 1
    assert best(colour=[0, 1], clarity=[9, -9]) == 1
    assert best(clarity=[-2, -1], painted=[0, 5]) == 1
    assert best(painted=[1, 0], timestamps=[0, 1]) == 1
    assert best(timestamps=[2, 1], videos=[0, 1]) == 1
    assert best(videos=[2, 1], files=[0, 1]) == 1
    assert best(files=[2, 1]) == 1


def test_nothing_to_choose_among() -> None:
    choice = choose(make_frames(array([])), 8)
    assert len(choice.kept) == len(choice.nearest) == len(choice.distance) == 0


@pytest.mark.parametrize(
    "found",
    [
        np.concatenate([clusters(2, 50_000, 1, 0), np.full(50_000, 5, np.uint64)]),
        np.concatenate([clusters(2, 50_000, 1, 0), clusters(3, 1, 50_000, 5)]),
        clusters(4, 100, 1_000, 4),
    ],
    ids=["one black frame 50,000 times", "a still camera", "scenes of 1,000 frames"],
)
def test_many_alike_cost_neither_much_time_nor_memory(found: NDArray[np.uint64]) -> None:
    frames = make_frames(found)
    started = time.process_time()
    choose(frames, 8)
    assert time.process_time() - started < 15  # 100 times less than the pairs alone would take
    tracemalloc.start()
    try:
        choose(frames, 8)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
