"""Hashes to search among: strategies, and clusters of thousands."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

CENTRES = (0, 2**64 - 1, 0x00FF00FF00FF00FF, 0x123456789ABCDEF0)
flips = st.lists(st.integers(0, 63), max_size=9).map(lambda bits: sum({1 << b for b in bits}))
hashes = st.builds(lambda centre, flipped: centre ^ flipped, st.sampled_from(CENTRES), flips)
hash_lists = st.lists(hashes, max_size=60)
distances = st.integers(0, 16)
unhurried = settings(deadline=None)  # other tests may share the processor


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
