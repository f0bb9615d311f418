"""The search finds exactly what comparing everything finds, in bounded time and memory."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.neardup import hamming, pigeonhole
from stages.neardup.hamming import nearest_within, pairs_up_to, pairs_within, within
from stages.neardup.pigeonhole import Work, masks
from tests.stages.hashes import (
    array,
    clusters,
    distance_table,
    distances,
    hash_lists,
    hashes,
    unhurried,
)


@pytest.fixture(params=["compare all", "join", "threads"], ids=["compare-all", "join", "threads"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes one way of searching look so dear that the other is taken whatever the sizes."""
    if request.param == "compare all":
        monkeypatch.setattr(pigeonhole, "SORT", 1e12)
        return
    monkeypatch.setattr(pigeonhole, "COMPARE", 1e4)
    if request.param == "threads":
        monkeypatch.setattr(hamming, "WORTH_THREADS", 0)
        monkeypatch.setattr(hamming, "available_cores", lambda: 3)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few hashes then make many chunks and batches, with all that may go wrong at their edges."""
    monkeypatch.setattr(hamming, "CHUNK", 7)
    monkeypatch.setattr(hamming, "BATCH", 7)


@pytest.mark.usefixtures("method", "small_chunks")
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
                assert (index[at], apart[at]) == (-1, 0)

    @unhurried
    @given(value=hashes, others=hash_lists, distance=distances)
    def test_one_hash_is_compared_with_all(
        self, value: int, others: list[int], distance: int
    ) -> None:
        index, apart = within(value, array(others), distance)
        away = {at: (value ^ other).bit_count() for at, other in enumerate(others)}
        near = {at: far for at, far in away.items() if far <= distance}
        assert dict(zip(index.tolist(), apart.tolist(), strict=True)) == near


@pytest.mark.parametrize("distance", [0, 1, 3, 8, 12])
def test_pairs_among_thousands(distance: int) -> None:
    found = np.unique(clusters(seed=distance, count=100, size=40, radius=5))
    np.random.default_rng(0).shuffle(found)
    i, j, apart = pairs_within(found, distance)
    table = np.triu(distance_table(found, found) <= distance, 1)
    assert np.array_equal(np.stack([i, j]), np.stack(np.nonzero(table)))
    assert (apart <= distance).all()


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 5, 8, 12, 16])
@pytest.mark.parametrize("size", [10**3, 10**5, 10**6, 10**8])
def test_every_pair_within_the_distance_agrees_on_a_mask(distance: int, size: int) -> None:
    random = np.random.default_rng(distance)
    # Bits that are always clear, so that the blocks are cut by what the others tell.
    found = random.integers(0, 2**64, 1000, dtype=np.uint64) & np.uint64(0xFFF0_FFFF_0FFF_FFFF)
    joins = masks(found, found, distance, Work(size * size // 2, size))
    bits = random.permuted(np.tile(np.arange(64, dtype=np.uint64), (20_000, 1)), axis=1)
    flipped = np.uint64(1) << bits[:, :distance]
    left = np.bitwise_or.reduce(flipped, axis=1)
    for mask in joins:
        left = left[(left & np.uint64(mask)) != 0]
    assert len(left) == 0


def test_bits_that_are_always_the_same_are_not_joined_on() -> None:
    random = np.random.default_rng(0)
    found = random.integers(0, 2**44, 100_000, dtype=np.uint64)  # 20 bits that tell nothing
    joins = masks(found, found, 8, Work(10**12 // 2, 10**6))
    told = [(mask & (2**44 - 1)).bit_count() for mask in joins]
    assert len(told) > 1
    assert max(told) - min(told) <= 4


def test_more_pairs_than_wanted_are_no_pairs_but_just_as_many_are() -> None:
    found = np.unique(clusters(seed=3, count=10, size=30, radius=3))
    count = len(pairs_within(found, 8)[0])
    assert count > 100
    assert pairs_up_to(found, 8, count - 1) is None
    exact = pairs_up_to(found, 8, count)
    assert exact is not None and len(exact[0]) == count


def test_threads_come_to_the_same_and_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = np.unique(clusters(seed=4, count=3_000, size=10, radius=4))
    monkeypatch.setattr(hamming, "available_cores", lambda: 1)
    alone = pairs_within(found, 8)
    monkeypatch.setattr(hamming, "available_cores", lambda: 4)
    together = pairs_within(found, 8)
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert pairs_up_to(found, 8, 10) is None
    assert not [one for one in threading.enumerate() if one.name.startswith("hamming")]


def test_what_is_nothing_has_no_neighbours() -> None:
    assert len(pairs_within(array([]), 8)[0]) == 0
    assert nearest_within(array([5]), array([]), 8)[0].tolist() == [-1]
    assert len(nearest_within(array([]), array([5]), 8)[0]) == 0
    assert len(within(5, array([]), 64)[0]) == 0


def test_equal_hashes_are_refused_and_so_is_an_impossible_distance() -> None:
    with pytest.raises(ValueError, match="not distinct"):
        pairs_within(array([3, 3]), 8)
    with pytest.raises(ValueError, match="0 to 64 bits, not 65"):
        pairs_within(array([3]), 65)
    with pytest.raises(ValueError, match="0 to 64 bits, not -1"):
        nearest_within(array([3]), array([3]), -1)


def test_a_few_among_hundreds_of_thousands_are_found_in_little_time_and_memory() -> None:
    known = clusters(5, 300_000, 1, 0)
    new = np.concatenate([known[:1000] ^ np.uint64(0b1011), clusters(6, 2_000, 1, 0)])
    started = time.process_time()
    index, apart = nearest_within(new, known, 8)
    assert time.process_time() - started < 5  # a guard against a blow-up, not a benchmark
    assert index[:1000].tolist() == list(range(1000))
    assert (apart[:1000] == 3).all() and (index[1000:] == -1).all()
    tracemalloc.start()
    try:
        nearest_within(new, known, 8)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_crowd_that_is_alike_ends_the_search_early_and_in_bounded_memory() -> None:
    found: NDArray[np.uint64] = np.unique(clusters(7, 1, 100_000, 5))
    tracemalloc.start()
    started = time.process_time()
    try:
        assert pairs_up_to(found, 8, 100_000) is None
        assert time.process_time() - started < 5
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
