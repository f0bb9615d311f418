"""Search by Hamming distance among 64-bit hashes: exact, in bounded memory, on several cores.

It finds the same pairs as a comparison of every hash with every other. Only hashes that agree on
the bits of a mask are compared, for each mask of pigeonhole.py: sorted by those bits they stand
side by side, and each is compared with the next, the one after it and so on, a step at a time, in a
few array calls over thousands of hashes. The joins are independent and run on several threads:
NumPy releases the interpreter's lock while it works.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from engine import available_cores
from stages.neardup.pigeonhole import CHUNK, HASH_BITS, MASK_BITS, Work, masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Indices = NDArray[np.int64]
    Distances = NDArray[np.uint8]
    Pairs = tuple[Indices, Indices, Distances]
    Hits = tuple[Indices, Indices, Hashes]

T = TypeVar("T")

MOST_THREADS = 8
"""The most threads: each holds a sorted copy of the hashes."""

WORTH_THREADS = 100_000
"""The least number of hashes to sort in all for which threads save more time than they cost."""

BATCH = 1 << 18
"""Pairs that a thread gathers before it removes those that were found before."""

DROP_AT = 0.75
"""The share of windows that have ended at which the remaining ones are gathered anew."""


def pairs_within(hashes: Hashes, distance: int) -> Pairs:
    """Every pair of `hashes` whose Hamming distance is at most `distance`, each once.

    `hashes` has shape (n,) and distinct values: equal values would add quadratically many pairs
    without information. Returns (i, j, distance), three arrays of one length: indices into `hashes`
    with i < j, ordered by i, then j. Raises ValueError for a repeated value and for a distance
    outside 0..64.
    """
    _check(distance)
    if len(np.unique(hashes)) != len(hashes):
        raise ValueError("the hashes are not distinct; collapse equal ones with numpy.unique first")
    pairs = pairs_up_to(hashes, distance, len(hashes) ** 2)
    assert pairs is not None, "there are fewer pairs than the square of the hashes"
    return pairs


def pairs_up_to(hashes: Hashes, distance: int, most: int) -> Pairs | None:
    """`pairs_within`, or None where there are more than `most`: then the search stops early.

    It holds a small multiple of `most` pairs at a time, even if there are many more. The hashes
    have to be distinct, which is not checked.
    """
    joins = masks(hashes, hashes, distance, Work(len(hashes) * (len(hashes) - 1) // 2, len(hashes)))
    enough = threading.Event()

    def collect(at: int) -> list[Hits]:
        found: list[Hits] = []
        count = 0
        for hits in _join(hashes, joins, at, distance):
            if enough.is_set():
                break
            found.append(hits)
            count += len(hits[0])
            if count > most:
                enough.set()
        return found

    found: list[Hits] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))]
    count = 0
    for part in _on_threads(collect, len(joins), len(hashes)):
        found += part
        count += sum(len(hits[0]) for hits in part)
        if count > most:
            enough.set()
        if enough.is_set():
            return None
    one, other, difference = (np.concatenate(column) for column in zip(*found, strict=True))
    i, j = np.minimum(one, other), np.maximum(one, other)
    order = np.argsort(i << 32 | j)
    return i[order], j[order], np.bitwise_count(difference[order])


def nearest_within(hashes: Hashes, others: Hashes, distance: int) -> tuple[Indices, Distances]:
    """For each of `hashes` the nearest of `others` within `distance`, the first of equals.

    Both have one dimension and may repeat values. Returns (index, distance), each as long as
    `hashes`: the index into `others`, or -1 where none is within `distance`. Raises ValueError for
    a distance outside 0..64.

    No index is built or kept, so adding to `others` costs nothing. Memory is a few copies of both
    on each thread, for any number of near pairs.
    """
    _check(distance)
    none = np.int64(HASH_BITS + 1) << 32
    nearest = np.full(len(hashes), none)
    if not len(hashes) or not len(others):
        return np.full(len(hashes), -1), np.zeros(len(hashes), np.uint8)
    work = Work(len(hashes) * len(others), len(hashes) + len(others))
    joins = masks(hashes, others, distance, work)
    lock = threading.Lock()

    def search(at: int) -> None:
        for rows, columns, difference in _join_two(hashes, others, joins[at], distance):
            # Distance in the high bits, index in the low ones: the minimum is the nearest, and
            # the first of equals.
            candidate = np.bitwise_count(difference).astype(np.int64) << 32 | columns
            with lock:
                np.minimum.at(nearest, rows, candidate)

    for _ in _on_threads(search, len(joins), work.hashes):
        pass
    missing = nearest == none
    index = np.where(missing, -1, nearest & 0xFFFFFFFF)
    return index, np.where(missing, 0, nearest >> 32).astype(np.uint8)


def within(value: int, hashes: Hashes, distance: int) -> tuple[Indices, Distances]:
    """The indices of `hashes`, shape (n,), within `distance` of one `value`, ascending, and their
    distances. Compares all, in pieces that stay in the cache. Raises ValueError for a distance
    outside 0..64."""
    _check(distance)
    compare = _Comparison(distance)
    found = [(np.empty(0, np.int64), np.empty(0, np.uint64))]
    for start in range(0, len(hashes), CHUNK):
        hits, difference = compare(np.uint64(value), hashes[start : start + CHUNK])
        found.append((start + hits, difference))
    index, differences = (np.concatenate(column) for column in zip(*found, strict=True))
    return index, np.bitwise_count(differences)


def _check(distance: int) -> None:
    if not 0 <= distance <= HASH_BITS:
        raise ValueError(f"a distance of 64-bit hashes is 0 to 64 bits, not {distance}")


def _join(hashes: Hashes, joins: list[int], at: int, distance: int) -> Iterator[Hits]:
    """The pairs within `distance` that agree on mask `at` and on none before it, in batches of
    (index, index, differing bits). A batch may be empty."""
    key, order = _sorted_by(hashes, joins[at])
    sorted_hashes = hashes[order]
    firsts, stops = _runs(key)
    ends = np.repeat(stops, stops - firsts)
    after = np.arange(1, len(key) + 1)
    batch: list[Hits] = []
    waiting = 0
    for hits in _visit(sorted_hashes, sorted_hashes, after, ends, distance):
        batch.append(hits)
        waiting += len(hits[0])
        if waiting >= BATCH:
            yield _new(batch, order, joins[:at])
            batch, waiting = [], 0
    if batch:
        yield _new(batch, order, joins[:at])


def _new(batch: list[Hits], order: Indices, before: list[int]) -> Hits:
    """The hits that no earlier mask found, as indices into the unsorted hashes."""
    rows, columns, difference = (np.concatenate(column) for column in zip(*batch, strict=True))
    # A pair that agrees on several masks is reported once, by the first of them: `difference &
    # mask` is zero where an earlier mask has found the pair. So no set of known pairs is needed.
    for mask in before:
        new = np.flatnonzero(difference & np.uint64(mask))
        if len(new) < len(difference):
            rows, columns, difference = rows[new], columns[new], difference[new]
    return order[rows], order[columns], difference


def _join_two(hashes: Hashes, others: Hashes, mask: int, distance: int) -> Iterator[Hits]:
    """The pairs within `distance` of one of `hashes` and one of `others` that agree on `mask`."""
    key, order = _sorted_by(hashes, mask)
    other_key, other_order = _sorted_by(others, mask)
    firsts, stops = _runs(key)
    other_firsts, other_stops = _runs(other_key)
    match = np.searchsorted(other_key[other_firsts], key[firsts])
    match[match == len(other_firsts)] = 0
    agree = other_key[other_firsts[match]] == key[firsts]
    starts = np.repeat(np.where(agree, other_firsts[match], 0), stops - firsts)
    ends = np.repeat(np.where(agree, other_stops[match], 0), stops - firsts)
    for rows, columns, difference in _visit(
        hashes[order], others[other_order], starts, ends, distance
    ):
        yield order[rows], other_order[columns], difference


def _sorted_by(hashes: Hashes, mask: int) -> tuple[Hashes, Indices]:
    """The bits of `mask` in each hash, ascending, and the indices of the hashes in that order."""
    key = np.arange(len(hashes), dtype=np.uint64)
    # Sort numbers whose low bits are the index: a fraction of the time of an argsort.
    below = HASH_BITS - MASK_BITS
    room = np.empty(min(CHUNK, len(hashes)), np.uint64)
    for start, length in _ones(mask):
        ones = np.uint64((1 << length) - 1)
        for first in range(0, len(hashes), CHUNK):
            piece = hashes[first : first + CHUNK]
            bits = np.right_shift(piece, np.uint64(start), out=room[: len(piece)])
            bits &= ones
            bits <<= np.uint64(below)
            key[first : first + CHUNK] |= bits
        below += length
    key.sort()
    order = (key & np.uint64(0xFFFFFFFF)).view(np.int64)
    key >>= np.uint64(HASH_BITS - MASK_BITS)
    return key, order


def _ones(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of ones of `mask`: where each begins, and its length."""
    start = 0
    while mask >> start:
        start += (mask >> start & -(mask >> start)).bit_length() - 1
        rest = mask >> start
        length = (~rest & rest + 1).bit_length() - 1
        yield start, length
        start += length


def _runs(key: Hashes) -> tuple[Indices, Indices]:
    """The start and the stop of each run of equal values in the sorted `key`."""
    starts = np.flatnonzero(np.diff(key, prepend=~key[:1]))
    return starts, np.append(starts, len(key))[1:]


def _visit(
    hashes: Hashes, others: Hashes, starts: Indices, ends: Indices, distance: int
) -> Iterator[Hits]:
    """Compares hashes[i] with its window others[starts[i]:ends[i]] for every i; yields hits only.

    No index is repeated among the rows of one yield, unless the yield has only that row.
    """
    compare = _Comparison(distance)
    for first in range(0, len(hashes), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(hashes)))
        columns = starts[rows]
        while len(rows):
            left = ends[rows] - columns
            if len(rows) < left.max():
                yield from _visit_each(compare, hashes, others, rows, columns, ends)
                break
            # Windows differ in length. Take all rows as many steps as most windows have, then go on
            # with the rows that remain: a step over finished rows would be wasted.
            end = int(len(left) * DROP_AT)
            steps = int(np.partition(left, end)[end])
            for step, hits, difference in compare.steps(hashes[rows], others, columns, steps):
                inside = np.flatnonzero(left[hits] > step)
                if len(inside):
                    hits = hits[inside]
                    yield rows[hits], columns[hits] + step, difference[inside]
            more = np.flatnonzero(left > steps)
            rows, columns = rows[more], columns[more] + steps


def _visit_each(
    compare: _Comparison,
    hashes: Hashes,
    others: Hashes,
    rows: Indices,
    starts: Indices,
    ends: Indices,
) -> Iterator[Hits]:
    """`_visit` for few rows with long windows, one row at a time."""
    for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
        stop = int(ends[row])
        for at in range(start, stop, CHUNK):
            hits, difference = compare(hashes[row], others[at : min(at + CHUNK, stop)])
            if len(hits):
                yield np.full(len(hits), row), at + hits, difference


class _Comparison:
    """Compares up to CHUNK hashes at a time, in preallocated arrays: allocating takes longer than
    comparing."""

    def __init__(self, distance: int) -> None:
        self.distance = distance
        self._gathered = np.empty(CHUNK, np.uint64)
        self._difference = np.empty(CHUNK, np.uint64)
        self._count = np.empty(CHUNK, np.uint8)
        self._near = np.empty(CHUNK, bool)

    def __call__(self, hashes: Any, others: Hashes) -> tuple[Indices, Hashes]:
        """The positions where `hashes`, one or as many as `others`, are within the distance of
        `others`, and the differing bits there."""
        size = len(others)
        difference = np.bitwise_xor(hashes, others, out=self._difference[:size])
        count = np.bitwise_count(difference, out=self._count[:size])
        near = np.less_equal(count, self.distance, out=self._near[:size])
        hits = np.flatnonzero(near)
        return hits, difference[hits]

    def steps(
        self, hashes: Hashes, others: Hashes, columns: Indices, steps: int
    ) -> Iterator[tuple[int, Indices, Hashes]]:
        """Compares hashes[i] with others[columns[i] + step] for every i, where there is one; yields
        each step that has hits."""
        first = int(columns[0])
        side_by_side = bool((columns == np.arange(first, first + len(columns))).all())
        at = columns.copy()
        for step in range(steps):
            if side_by_side:
                beside = others[first + step : first + step + len(hashes)]
            else:
                beside = others.take(at, mode="clip", out=self._gathered[: len(hashes)])
                at += 1
            hits, difference = self(hashes[: len(beside)], beside)
            if len(hits):
                yield step, hits, difference


def _on_threads(work: Callable[[int], T], count: int, hashes: int) -> Iterator[T]:
    """The results of work(0) to work(count - 1) in order, each over
    `hashes` hashes; few run ahead."""
    threads = min(available_cores(), MOST_THREADS, count)
    if threads == 1 or count * hashes < WORTH_THREADS:
        yield from map(work, range(count))
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="hamming")
    try:
        ahead: deque[Future[T]] = deque()
        for at in range(count):
            ahead.append(pool.submit(work, at))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
