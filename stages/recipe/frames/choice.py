"""Which of a video's candidate frames are shown to a model. Pure.

The first and the last are, then, one by one, the candidate that shows most of what no chosen one
shows, as long as it is as sharp as its neighbours and stands still for more than a moment; and no
stretch of the video is left empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AROUND = 3
"""Candidates on each side with which a candidate's sharpness is compared."""

SHARP = 0.5
"""The share of the sharpest neighbour's sharpness from which a candidate counts as sharp."""

PASSING = 0.5
"""The weight of a candidate that looks like neither of its neighbours: the middle of a fade, a
flash, a swing of the camera."""

LOCAL = 0.08
"""The share of the picture, where it differs most, that counts for how much two pictures differ."""

NOISE = 0.02
"""Differences up to this, of 1, are those of noise and compression."""

EMPTY = 2.5
"""How many times longer than an equal share of the video a stretch without a chosen frame may
be."""

ALIKE_BITS = 4
"""Bits of a perceptual hash by which two pictures of one thing differ at most."""


@dataclass(frozen=True, slots=True)
class FrameLook:
    """What is known of a candidate: its second, its sharpness (the variance of its Laplacian), its
    perceptual hash of 64 bits, and a small picture, of shape (rows, columns, 3), 0 to 1."""

    time: float
    sharpness: float
    hash: int
    small: "NDArray[np.float32]"


def choose_looks(looks: Sequence[FrameLook], most: int) -> list[int]:
    """The places of at most `most` looks, ascending: the first and the last stretch's among them.
    `looks` are in the order of their times."""
    count = len(looks)
    if count <= most:
        return list(range(count))
    weights = _weights(looks)
    chosen = [_best_of(weights, range(min(AROUND, count)))]
    if most > 1:
        chosen.append(_best_of(weights, range(count - 1, max(count - 1 - AROUND, 0), -1)))
    nearest = [min(difference(look, looks[one]) for one in chosen) for look in looks]
    while len(chosen) < most:
        places = _allowed(looks, chosen, most)
        best = max(places, key=lambda place: (nearest[place] * weights[place], -place))
        if nearest[best] <= NOISE:  # nothing new is left: the widest gap's middle
            best = _middle(looks, chosen, weights)
        chosen.append(best)
        nearest = [
            min(before, difference(look, looks[best]))
            for before, look in zip(nearest, looks, strict=True)
        ]
    return sorted(chosen)


def difference(one: FrameLook, other: FrameLook) -> float:
    """How differently two candidates look, 0 to 1: by the blocks that differ most, so that a small
    thing that is new counts; the more, the more bits of their hashes differ."""
    import numpy as np

    apart = np.abs(one.small - other.small).mean(axis=2).ravel()
    worst = max(1, round(len(apart) * LOCAL))
    local = float(np.partition(apart, -worst)[-worst:].mean())
    bits = (one.hash ^ other.hash).bit_count()
    return max(0.0, local - NOISE) * (1 + bits / 32)


def is_alike(one: FrameLook, other: FrameLook) -> bool:
    """Whether two candidates show the same, so that one answer serves for both."""
    return (one.hash ^ other.hash).bit_count() <= ALIKE_BITS and difference(one, other) <= NOISE


def _weights(looks: Sequence[FrameLook]) -> list[float]:
    """What the newness of each counts: less where it is blurred, or passes in a moment."""
    steps = [difference(one, later) for one, later in pairwise(looks)]
    found = []
    for place, look in enumerate(looks):
        around = looks[max(0, place - AROUND) : place + AROUND + 1]
        sharpest = max(one.sharpness for one in around)
        share = look.sharpness / sharpest if sharpest > 0 else 1.0
        sharp = min(1.0, share / SHARP) ** 2
        beside = [steps[at] for at in (place - 1, place) if 0 <= at < len(steps)]
        found.append(sharp * (PASSING if min(beside, default=0.0) > 2 * NOISE else 1.0))
    return found


def _best_of(weights: Sequence[float], places: Sequence[int]) -> int:
    """The first of the places with the highest weight."""
    return max(places, key=lambda place: weights[place])


def _allowed(looks: Sequence[FrameLook], chosen: Sequence[int], most: int) -> Sequence[int]:
    """The places to choose from next: all, or those of the widest gap, where as many frames are
    left as there are gaps too wide."""
    free = [place for place in range(len(looks)) if place not in chosen]
    span = (looks[-1].time - looks[0].time) or 1.0
    longest = EMPTY * span / most
    gaps = [*pairwise(sorted(chosen))]
    widths = [looks[later].time - looks[one].time for one, later in gaps]
    if sum(int(width // longest) for width in widths) < most - len(chosen):
        return free
    width, (begin, end) = max(zip(widths, gaps, strict=True), default=(0.0, (0, 0)))
    margin = width / 4
    inside = [
        place
        for place in range(begin + 1, end)
        if looks[begin].time + margin <= looks[place].time <= looks[end].time - margin
    ]
    return inside or list(range(begin + 1, end)) or free


def _middle(looks: Sequence[FrameLook], chosen: Sequence[int], weights: Sequence[float]) -> int:
    """The best place near the middle of the widest gap between chosen ones."""
    gaps = [(one, later) for one, later in pairwise(sorted(chosen)) if later > one + 1]
    if not gaps:  # all that is left stands before the first or after the last
        return next(place for place in range(len(looks)) if place not in chosen)
    begin, end = max(gaps, key=lambda gap: looks[gap[1]].time - looks[gap[0]].time)
    middle = (begin + end) // 2
    around = [place for place in range(middle - 1, middle + 2) if begin < place < end]
    return max(around, key=lambda place: (weights[place], -abs(place - middle)))
