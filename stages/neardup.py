"""Near-duplicates: every pair of hashes within a Hamming distance, and which copy of a frame stays.

Everything here is exact: it finds what comparing every hash with every other would find. Two
methods share the work, whichever is expected to be cheaper:

- comparing all, in blocks that stay in the processor's cache;
- joining on bits that must be equal. Cut 64 bits into `distance + shared` blocks: two hashes that
  differ in at most `distance` bits differ in at most that many blocks, so at least `shared` blocks
  are equal. For every choice of that many blocks, only hashes that agree on all of them need be
  compared. (Pigeonhole; Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling",
  WWW 2007.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Indices = NDArray[np.int64]
    Distances = NDArray[np.uint8]
    Pairs = tuple[Indices, Indices, Distances]
    Hits = tuple[Indices, Indices, Hashes]

HASH_BITS = 64
MOST_SHARED = 4

# What one step costs, in nanoseconds: measured, and only their ratios matter.
COMPARE = 0.7
SORT = 50.0
VISIT = 8.0

BLOCK_ROWS = 16
BLOCK_COLUMNS = 4096

MANY_PAIRS = 100_000
"""With more pairs than this, and than hashes, the choice of keepers halves the hashes instead."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames to choose among, as columns of one length, in any order.

    `hashes` are 64-bit perceptual hashes; `pixels` (width times height), `sharpness` and
    `timestamps` say how good a copy is. `videos` and `files` are numbers in the order of the
    videos' ids and of the files' names in their video, and tell any two frames apart.
    """

    hashes: Hashes
    pixels: Indices
    sharpness: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    videos: Indices
    files: Indices

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames stay. All arrays have the length and the order of the frames chosen among.

    `nearest` is the index of the kept frame that stands for this one, and `distance` how many bits
    its hash is away: a kept frame stands for itself, at distance 0.
    """

    kept: NDArray[np.bool_]
    nearest: Indices
    distance: Distances


def choose(frames: Frames, distance: int) -> Choice:
    """Keep the best copies: no two kept frames are within `distance` bits, and every other frame is
    within `distance` of a kept one.

    Frames are taken from the best to the worst (more pixels, then sharper, then earlier, then by
    video and file), and one is kept unless a kept one is within `distance`. A removed frame names
    the kept frame nearest to it, the best of them when several are equally near. The answer does
    not depend on the order in which the frames are given.

    Memory is bounded by the frames, not by how many pairs are alike.
    """
    import numpy as np

    order = np.lexsort(
        (frames.files, frames.videos, frames.timestamps, -frames.sharpness, -frames.pixels)
    )
    # Equal hashes share one fate, so each is looked at once, as its best frame.
    _, best, group = np.unique(frames.hashes[order], return_index=True, return_inverse=True)
    by_quality = np.argsort(best)
    distinct = frames.hashes[order[best[by_quality]]]
    keepers = _keepers(distinct, distance)
    stand_in = np.empty(len(distinct), np.int64)
    stand_in[keepers] = np.arange(len(keepers))
    how_far = np.zeros(len(distinct), np.uint8)
    removed = np.setdiff1d(np.arange(len(distinct)), keepers, assume_unique=True)
    stand_in[removed], how_far[removed] = nearest_within(
        distinct[removed], distinct[keepers], distance
    )

    place = np.empty(len(best), np.int64)
    place[by_quality] = np.arange(len(best))
    of_frame = place[group.reshape(-1)]
    keeper_frame = order[best[by_quality[keepers]]]
    nearest = np.empty(len(frames), np.int64)
    nearest[order] = keeper_frame[stand_in[of_frame]]
    away = np.empty(len(frames), np.uint8)
    away[order] = how_far[of_frame]
    return Choice(nearest == np.arange(len(frames)), nearest, away)


def pairs_within(hashes: Hashes, distance: int) -> Pairs:
    """Every pair of `hashes` whose Hamming distance is at most `distance`, each once.

    `hashes` has shape (n,) and holds no value twice: equal values make a number of pairs that is
    quadratic in their count and tells nothing. Returns (i, j, distance), three arrays of one
    length: indices into `hashes` with i < j, ordered by i, then j. Raises ValueError for a value
    that is there twice and for a distance outside 0..64.
    """
    import numpy as np

    _check(distance)
    if len(np.unique(hashes)) != len(hashes):
        raise ValueError("the hashes are not distinct; collapse equal ones with numpy.unique first")
    pairs = _collect(_pairs(hashes, distance), len(hashes) ** 2)
    assert pairs is not None, "there are fewer pairs than the square of the hashes"
    return pairs


def nearest_within(hashes: Hashes, others: Hashes, distance: int) -> tuple[Indices, Distances]:
    """For each of `hashes` the nearest of `others` within `distance`, the first of equals.

    Both have one dimension and may hold values twice. Returns (index, distance), each as long as
    `hashes`: the index into `others`, or -1 where none is within `distance`. Raises ValueError for
    a distance outside 0..64.
    """
    import numpy as np

    _check(distance)
    none = np.int64(HASH_BITS + 1) << 32
    nearest = np.full(len(hashes), none)
    for rows, columns, difference in _matches(hashes, others, distance):
        # Distance above, index below: the least number is the nearest, and of equals the first.
        candidate = np.bitwise_count(difference).astype(np.int64) << 32 | columns
        np.minimum.at(nearest, rows, candidate)
    missing = nearest == none
    index = np.where(missing, -1, nearest & 0xFFFFFFFF)
    return index, np.where(missing, 0, nearest >> 32).astype(np.uint8)


def _keepers(hashes: Hashes, distance: int) -> Indices:
    """The indices that a walk over distinct `hashes`, best first, keeps; ascending.

    Halving keeps this cheap where thousands of hashes are all alike, as those of a still camera
    are: the better half is settled first, and what its few keepers cover is never compared again.
    """
    import numpy as np

    pairs = _collect(_pairs(hashes, distance), max(MANY_PAIRS, len(hashes)))
    if pairs is not None:
        return _walk(len(hashes), pairs[0], pairs[1])
    half = len(hashes) // 2
    first = _keepers(hashes[:half], distance)
    covered, _ = nearest_within(hashes[half:], hashes[first], distance)
    left = half + np.flatnonzero(covered < 0)
    return np.concatenate((first, left[_keepers(hashes[left], distance)]))


def _collect(batches: Iterator[Hits], most: int) -> Pairs | None:
    """The pairs in order, with their distances, or None as soon as there are more than `most`."""
    import numpy as np

    found: list[Hits] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))]
    count = 0
    for hits in batches:
        found.append(hits)
        count += len(hits[0])
        if count > most:
            return None
    one, other, difference = (np.concatenate(column) for column in zip(*found, strict=True))
    i, j = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((j, i))
    return i[order], j[order], np.bitwise_count(difference[order])


def _walk(count: int, i: Indices, j: Indices) -> Indices:
    """The indices kept when each of 0..count-1 in turn removes those paired with it after it."""
    import numpy as np

    kept = np.ones(count, bool)
    edges = np.append(np.flatnonzero(np.diff(i, prepend=-1)), len(i)).tolist()
    for start, stop in pairwise(edges):
        if kept[i[start]]:
            kept[j[start:stop]] = False
    return np.flatnonzero(kept)


def _check(distance: int) -> None:
    if not 0 <= distance <= HASH_BITS:
        raise ValueError(f"a distance of 64-bit hashes is 0 to 64 bits, not {distance}")


def _pairs(hashes: Hashes, distance: int) -> Iterator[Hits]:
    """Every pair within `distance` once, as batches of (index, index, differing bits)."""
    import numpy as np

    count = len(hashes)
    shared = _shared_blocks(count * count // 2, count, distance)
    if not shared:
        for start in range(0, count, BLOCK_ROWS):
            block = hashes[start : start + BLOCK_ROWS]
            for rows, columns, difference in _compare_all(block, hashes[start:], distance):
                once = rows < columns
                yield start + rows[once], start + columns[once], difference[once]
        return
    for mask, skipped in _masks(distance, shared):
        key = hashes & mask
        order = np.argsort(key)
        ends = np.searchsorted(key[order], key[order], side="right")
        sorted_hashes = hashes[order]
        after = np.arange(1, count + 1)
        for rows, columns, difference in _visit(
            sorted_hashes, sorted_hashes, after, ends, distance
        ):
            # A pair that agrees on more blocks turns up again: only the first time counts.
            once = np.ones(len(rows), bool)
            for skip in skipped:
                once &= (difference & skip) != 0
            yield order[rows[once]], order[columns[once]], difference[once]


def _matches(hashes: Hashes, others: Hashes, distance: int) -> Iterator[Hits]:
    """Every pair of one of `hashes` and one of `others` within `distance`, some more than once."""
    import numpy as np

    shared = _shared_blocks(len(hashes) * len(others), len(hashes) + len(others), distance)
    if not shared:
        for start in range(0, len(hashes), BLOCK_ROWS):
            block = hashes[start : start + BLOCK_ROWS]
            for rows, columns, difference in _compare_all(block, others, distance):
                yield start + rows, columns, difference
        return
    for mask, _ in _masks(distance, shared):
        order = np.argsort(others & mask)
        key = (others & mask)[order]
        wanted = hashes & mask
        starts = np.searchsorted(key, wanted)
        ends = np.searchsorted(key, wanted, side="right")
        for rows, columns, difference in _visit(hashes, others[order], starts, ends, distance):
            yield rows, order[columns], difference


def _shared_blocks(pairs: int, hashes: int, distance: int) -> int:
    """On how many equal blocks to join so that it costs least; 0 where comparing all costs less."""
    costs = {0: pairs * COMPARE}
    for shared in range(1, MOST_SHARED + 1):
        blocks = distance + shared
        joins = comb(blocks, shared)
        agreeing = pairs / 2 ** (HASH_BITS * shared / blocks)
        costs[shared] = joins * (hashes * SORT + agreeing * VISIT)
    return min(costs, key=lambda shared: costs[shared])


def _masks(distance: int, shared: int) -> Iterator[tuple[np.uint64, list[np.uint64]]]:
    """Each choice of `shared` blocks as one mask, with the masks of the blocks it skipped over."""
    import numpy as np

    count = distance + shared
    edges = [round(HASH_BITS * edge / count) for edge in range(count + 1)]
    blocks = [(1 << stop) - (1 << start) for start, stop in pairwise(edges)]
    for chosen in combinations(range(count), shared):
        skipped = [np.uint64(blocks[at]) for at in range(chosen[-1]) if at not in chosen]
        yield np.uint64(sum(blocks[at] for at in chosen)), skipped


def _visit(
    hashes: Hashes, others: Hashes, starts: Indices, ends: Indices, distance: int
) -> Iterator[Hits]:
    """Compares hashes[i] with others[starts[i]:ends[i]] for every i, one step at a time."""
    import numpy as np

    rows = np.flatnonzero(starts < ends)
    columns = starts[rows]
    stops = ends[rows]
    while len(rows):
        difference = hashes[rows] ^ others[columns]
        hits = np.flatnonzero(np.bitwise_count(difference) <= distance)
        if len(hits):
            yield rows[hits], columns[hits], difference[hits]
        columns = columns + 1
        more = np.flatnonzero(columns < stops)
        rows, columns, stops = rows[more], columns[more], stops[more]


def _compare_all(block: Hashes, others: Hashes, distance: int) -> Iterator[Hits]:
    """Compares each of a few hashes with all of `others`, in pieces that fit the cache."""
    import numpy as np

    column: Any = block[:, np.newaxis]
    for start in range(0, len(others), BLOCK_COLUMNS):
        difference = column ^ others[start : start + BLOCK_COLUMNS]
        hits = np.flatnonzero(np.bitwise_count(difference) <= distance)
        if len(hits):
            rows, columns = np.divmod(hits, difference.shape[1])
            yield rows, start + columns, difference.ravel()[hits]
