"""Near-duplicates: the choice of the copy that stays for all frames that are nearly like it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.neardup.hamming import Distances, Hashes, Indices

MANY_PAIRS = 100_000
"""With more pairs than this, and than hashes, keepers are chosen by halving the hashes instead."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames to choose among, as columns of one length, in any order.

    `hashes` are 64-bit perceptual hashes; `pixels` (width times height), the looks of
    `frame_quality.Looks`, and `timestamps` rank the copies. `videos` and `files` are numbers in the
    order of the videos' ids and of the files' names in their video; together they identify a frame.
    """

    hashes: Hashes
    pixels: Indices
    colour: Indices
    clarity: Indices
    painted: Indices
    timestamps: NDArray[np.float64]
    videos: Indices
    files: Indices

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class Choice:
    """The frames that stay. All arrays have the length and the order of the input.

    `nearest` is the index of the kept frame that represents this one, and `distance` the Hamming
    distance to it: a kept frame represents itself, at distance 0.
    """

    kept: NDArray[np.bool_]
    nearest: Indices
    distance: Distances


def choose(frames: Frames, distance: int) -> Choice:
    """Keep the best copies: no two kept frames are within `distance` bits, and every other frame is
    within `distance` of a kept one.

    Frames are taken from the best to the worst (more pixels, then in colour, then clearer, then
    less painted over, then earlier, then by video and file), and one is kept unless a kept one is
    within `distance`. A removed frame names the kept frame nearest to it, the best of them when
    several are equally near. The result does not depend on the order of the input.

    Memory is bounded by the number of frames, not by the number of pairs.
    """
    import numpy as np

    from stages.neardup.hamming import nearest_within

    worse = (frames.painted, -frames.clarity, -frames.colour, -frames.pixels)
    order = np.lexsort((frames.files, frames.videos, frames.timestamps, *worse))
    # Frames with equal hashes end alike, so each hash is examined once, as its best frame.
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


def _keepers(hashes: Hashes, distance: int) -> Indices:
    """The indices that a walk over distinct `hashes`, best first, keeps; ascending.

    Halving keeps this cheap where thousands of hashes are all alike, such as those of a still
    camera: the better half is settled first, and hashes near its few keepers are never compared
    again.
    """
    import numpy as np

    from stages.neardup.hamming import nearest_within, pairs_up_to

    pairs = pairs_up_to(hashes, distance, max(MANY_PAIRS, len(hashes)))
    if pairs is not None:
        return _walk(len(hashes), pairs[0], pairs[1])
    # Correct because a hash depends only on better ones: the first half's keepers are final, and of
    # the second half just the hashes that they do not cover compete among themselves.
    half = len(hashes) // 2
    first = _keepers(hashes[:half], distance)
    covered, _ = nearest_within(hashes[half:], hashes[first], distance)
    left = half + np.flatnonzero(covered < 0)
    return np.concatenate((first, left[_keepers(hashes[left], distance)]))


def _walk(count: int, i: Indices, j: Indices) -> Indices:
    """The indices kept if each of 0..count-1 in turn, unless removed,
    removes its later partners."""
    import numpy as np

    kept = np.ones(count, bool)
    edges = np.append(np.flatnonzero(np.diff(i, prepend=-1)), len(i)).tolist()
    for start, stop in pairwise(edges):
        if kept[i[start]]:
            kept[j[start:stop]] = False
    return np.flatnonzero(kept)
