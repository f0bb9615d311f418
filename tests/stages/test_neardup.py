"""The search finds exactly what comparing everything finds, and the choice keeps its promises."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages import neardup
from stages.neardup import Choice, Frames, choose, nearest_within, pairs_within

CENTRES = (0, 2**64 - 1, 0x00FF00FF00FF00FF, 0x123456789ABCDEF0)
flips = st.lists(st.integers(0, 63), max_size=9).map(lambda bits: sum({1 << b for b in bits}))
hashes = st.builds(lambda centre, flipped: centre ^ flipped, st.sampled_from(CENTRES), flips)
hash_lists = st.lists(hashes, max_size=60)
distances = st.integers(0, 16)
unhurried = settings(deadline=None)  # other tests may share the processor


@pytest.fixture(params=["compare all", "join"], ids=["compare-all", "join"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes one of the two methods look so dear that the other is taken whatever the sizes."""
    dear = {"compare all": ("SORT", "VISIT"), "join": ("COMPARE",)}[request.param]
    for cost in dear:
        monkeypatch.setattr(neardup, cost, 1e12)


def array(values: list[int]) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


def distance_table(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.bitwise_count(one[:, None] ^ other[None, :])


def clusters(seed: int, count: int, size: int, radius: int) -> NDArray[np.uint64]:
    """`count` random centres, each with `size` hashes around it, shuffled."""
    random = np.random.default_rng(seed)
    found = np.repeat(random.integers(0, 2**64, count, dtype=np.uint64), size)
    for _ in range(radius):
        found ^= np.uint64(1) << random.integers(0, 64, len(found), dtype=np.uint64)
    random.shuffle(found)
    return found


def make_frames(found: NDArray[np.uint64], seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    count = len(found)
    return Frames(
        hashes=found,
        pixels=random.choice([640 * 360, 640 * 480], count),
        sharpness=random.choice([10.0, 20.5, 31.125], count),
        timestamps=random.choice([0.0, 1.0, 2.0], count),
        videos=random.integers(0, 3, count),
        files=np.arange(count),
    )


def shuffled(frames: Frames, order: NDArray[np.int64]) -> Frames:
    return Frames(
        frames.hashes[order],
        frames.pixels[order],
        frames.sharpness[order],
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
            -frames.sharpness[n],
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


@pytest.mark.usefixtures("method")
class TestSearch:
    @unhurried
    @given(values=st.lists(hashes, max_size=60, unique=True), distance=distances)
    def test_pairs_are_those_of_comparing_everything(
        self, values: list[int], distance: int
    ) -> None:
        i, j, apart = pairs_within(array(values), distance)
        table = distance_table(array(values), array(values))
        rows, columns = np.nonzero(np.triu(table <= distance, 1))
        assert np.array_equal(i, rows)
        assert np.array_equal(j, columns)
        assert np.array_equal(apart, table[rows, columns])

    @unhurried
    @given(values=hash_lists, others=hash_lists, distance=distances)
    def test_nearest_is_the_first_of_the_nearest(
        self, values: list[int], others: list[int], distance: int
    ) -> None:
        index, apart = nearest_within(array(values), array(others), distance)
        for at, value in enumerate(values):
            away = [(value ^ other).bit_count() for other in others]
            if away and min(away) <= distance:
                assert (index[at], apart[at]) == (away.index(min(away)), min(away))
            else:
                assert index[at] == -1

    @unhurried
    @given(values=hash_lists, distance=distances, seed=st.integers(0, 9))
    def test_choice_is_that_of_a_plain_walk(
        self, values: list[int], distance: int, seed: int
    ) -> None:
        frames = make_frames(array(values), seed)
        assert by_file(frames, choose(frames, distance)) == walk(frames, distance)


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("distance", [0, 1, 3, 8, 12])
def test_pairs_among_thousands(distance: int) -> None:
    found = np.unique(clusters(seed=distance, count=300, size=20, radius=5))
    i, j, _ = pairs_within(found, distance)
    table = distance_table(found, found) <= distance
    assert len(i) == (np.count_nonzero(table) - len(found)) // 2
    assert table[i, j].all()


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


def test_more_pixels_win_then_sharpness_then_the_earlier_frame_then_the_video() -> None:
    def best(**columns: list[float]) -> int:
        same: dict[str, list[float]] = {
            "pixels": [1, 1],
            "sharpness": [1, 1],
            "timestamps": [1, 1],
            "videos": [1, 1],
            "files": [1, 1],
        }
        arrays = {name: np.array(values) for name, values in (same | columns).items()}
        choice = choose(Frames(hashes=array([7, 7]), **arrays), 0)
        return int(np.flatnonzero(choice.kept)[0])

    assert best(pixels=[1, 2], sharpness=[9, 1]) == 1
    assert best(sharpness=[1, 2], timestamps=[0, 1]) == 1
    assert best(timestamps=[2, 1], videos=[0, 1]) == 1
    assert best(videos=[2, 1], files=[0, 1]) == 1
    assert best(files=[2, 1]) == 1


def test_nothing_to_choose_among() -> None:
    choice = choose(make_frames(array([])), 8)
    assert len(choice.kept) == len(choice.nearest) == len(choice.distance) == 0
    assert len(pairs_within(array([]), 8)[0]) == 0
    assert nearest_within(array([5]), array([]), 8)[0].tolist() == [-1]


def test_equal_hashes_are_refused_and_so_is_an_impossible_distance() -> None:
    with pytest.raises(ValueError, match="not distinct"):
        pairs_within(array([3, 3]), 8)
    with pytest.raises(ValueError, match="0 to 64 bits, not 65"):
        pairs_within(array([3]), 65)
    with pytest.raises(ValueError, match="0 to 64 bits, not -1"):
        nearest_within(array([3]), array([3]), -1)


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
