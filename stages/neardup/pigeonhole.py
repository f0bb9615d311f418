"""Chooses bits on which to join 64-bit hashes, so that no pair within a Hamming distance is missed.

Divide the bits into groups and allow each group some differing bits, so that these numbers, each
plus one, add up to `distance` + 1. Two hashes within `distance` then stay within the allowance of
at least one group: otherwise every group would differ in one bit more than allowed, `distance` + 1
in all. Cut a group that allows t differing bits into t + s blocks: two hashes that stay within it
agree on at least s of its blocks. So it is enough to compare hashes that agree on some s blocks of
a group.

For 8 bits among a million hashes: three groups that allow 2 each, of six blocks of which four are
equal, make 45 joins on 14 bits. A single group would take 45 joins on 13 bits, or 165 on 17.

(The joins: Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007. An
allowance for each group: Qin et al., "GPH: Similarity Search in Hamming Space", ICDE 2018.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

HASH_BITS = 64
MASK_BITS = 32
"""The most bits of a mask: four thousand million values are selective enough."""

MOST_SHARED = 8
SAMPLE = 4096

CHUNK = 1 << 15
"""Hashes that one call compares: few enough for the cache, enough to make the call worthwhile."""

# Costs of the steps in nanoseconds, as measured; only their ratios matter.
JOIN = 150_000.0
SORT = 25.0
CALL = 5_000.0
COMPARE = 0.7


@dataclass(frozen=True, slots=True)
class Work:
    """The size of a search: `pairs` of hashes, made of `hashes` in all."""

    pairs: int
    hashes: int


def masks(one: Hashes, other: Hashes, distance: int, work: Work) -> list[int]:
    """Bits to join on, cheapest for this `work`: every pair of one of `one` and one of `other`
    within `distance` agrees on all bits of at least one mask.

    A single mask of no bits, on which all agree, where comparing everything is cheapest. The blocks
    are cut to hold equal information about these hashes: a bit that all share holds none.
    """
    compare_all = _cost(1, 0, work)
    if not work.pairs or compare_all < 2 * JOIN:
        return [0]
    tells = _information(one, other)
    schemes = list(_schemes(distance))
    costs = [_cost(scheme.joins, scheme.part * float(tells.sum()), work) for scheme in schemes]
    best = min(range(len(schemes)), key=lambda at: costs[at])
    return schemes[best].masks(tells) if costs[best] < compare_all else [0]


@dataclass(frozen=True, slots=True)
class _Scheme:
    """Groups that allow `allowed` differing bits each, and agree on `shared` of their blocks."""

    allowed: tuple[int, ...]
    shared: int

    @property
    def joins(self) -> int:
        return sum(comb(allowed + self.shared, self.shared) for allowed in self.allowed)

    @property
    def blocks(self) -> int:
        return sum(self.allowed) + len(self.allowed) * self.shared

    @property
    def part(self) -> float:
        """The share of the information of all bits that one mask holds."""
        return self.shared / self.blocks

    def masks(self, tells: NDArray[np.float64]) -> list[int]:
        """The masks, given the information that each bit holds."""
        told = np.concatenate(([0.0], np.cumsum(tells)))
        wanted = np.arange(self.blocks) * (told[-1] / self.blocks)
        edges = [*np.searchsorted(told, wanted).tolist(), HASH_BITS]
        found = []
        first = 0
        for allowed in self.allowed:
            after = first + allowed + self.shared
            for chosen in combinations(range(first, after), self.shared):
                bits = [bit for at in chosen for bit in range(edges[at], edges[at + 1])]
                found.append(sum(1 << bit for bit in bits[:MASK_BITS]))
            first = after
        return found


def _schemes(distance: int) -> Iterator[_Scheme]:
    for groups in range(1, distance + 2):
        each, more = divmod(distance + 1, groups)
        allowed = (each,) * more + (each - 1,) * (groups - more)
        for shared in range(1, MOST_SHARED + 1):
            scheme = _Scheme(allowed, shared)
            if scheme.blocks <= HASH_BITS:
                yield scheme


def _cost(joins: int, bits: float, work: Work) -> float:
    """Nanoseconds for `joins` joins whose masks hold as much information as `bits` random bits."""
    agreeing = work.pairs / 2**bits
    window = 2 * agreeing / max(work.hashes, 1)
    steps = ceil(work.hashes / CHUNK) * (window + 4 * sqrt(window))
    return joins * (JOIN + work.hashes * SORT + agreeing * COMPARE + steps * CALL)


def _information(one: Hashes, other: Hashes) -> NDArray[np.float64]:
    """For each bit, the lowest first, the information in a pair's agreement on it: 0 to 1 bits."""
    one_set, other_set = _share_set(one), _share_set(other)
    agree = one_set * other_set + (1 - one_set) * (1 - other_set)
    return -np.log2(np.clip(agree, 0.5, 1))


def _share_set(hashes: Hashes) -> NDArray[np.float64]:
    """The share of a sample in which each bit is set."""
    sample = hashes[:: max(1, len(hashes) // SAMPLE)].astype("<u8")
    bits = np.unpackbits(sample.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    share: NDArray[np.float64] = bits.mean(axis=0)
    return share
