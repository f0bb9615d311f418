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

SWAY = 2
"""Blocks by which a thing may lie elsewhere and be the same."""

EMPTY = 2.5
"""How many times longer than an equal share of the video a stretch without a chosen frame may
be."""

LITTLE = 0.005
"""The newness, less for what is blurred, up to which a candidate counts as showing nothing new."""

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
    seen = _Seen(looks)
    weights = _weights(looks)
    chosen = _ends(weights)[:most]
    for place in chosen:
        seen.add(place)
    while len(chosen) < most:
        newness = seen.newness()
        places = _allowed(looks, chosen, most)
        best = max(places, key=lambda place: (newness[place] * weights[place], -place))
        if newness[best] * weights[best] <= LITTLE:  # nothing new is left that is sharp
            best = _middle(looks, chosen, weights)
        chosen.append(best)
        seen.add(best)
    return sorted(chosen)


def ends_of(looks: Sequence[FrameLook]) -> list[int]:
    """The places of the first and of the last look that are chosen: the best of those nearby."""
    return _ends(_weights(looks))


def is_alike(one: FrameLook, other: FrameLook) -> bool:
    """Whether two candidates show the same, so that one answer serves for both."""
    if (one.hash ^ other.hash).bit_count() > ALIKE_BITS:
        return False
    return max(_new_in(one, [other]), _new_in(other, [one])) <= 0


class _Seen:
    """What the chosen candidates have shown of each candidate, block by block."""

    def __init__(self, looks: Sequence[FrameLook]) -> None:
        import numpy as np

        self._looks = looks
        self._pictures = np.stack([look.small for look in looks])
        self._left = np.full(self._pictures.shape[:3], np.inf, np.float32)
        self._bits = [64] * len(looks)

    def add(self, place: int) -> None:
        """It is chosen."""
        import numpy as np

        chosen = self._looks[place]
        self._left = np.minimum(self._left, _unlike(self._pictures, chosen.small))
        self._bits = [
            min(bits, (look.hash ^ chosen.hash).bit_count())
            for bits, look in zip(self._bits, self._looks, strict=True)
        ]

    def newness(self) -> list[float]:
        """How much each candidate shows that no chosen one does, 0 and up: by the blocks that are
        least like what was shown, so that a small thing counts; the more, the more bits of its hash
        differ from that of the nearest chosen one."""
        return [
            new * (1 + bits / 64)
            for new, bits in zip(_worst_blocks(self._left), self._bits, strict=True)
        ]


def _unlike(pictures: "NDArray[np.float32]", other: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """How unlike each block of each picture is to the block of `other` that is most like it, of
    those up to SWAY blocks away: a camera that moves shows nothing new by that. `other` is one
    picture for all, or one for each."""
    import numpy as np

    rows, columns = other.shape[-3:-1]
    whole = [(0, 0)] * (other.ndim - 3)
    padded = np.pad(other, (*whole, (SWAY, SWAY), (SWAY, SWAY), (0, 0)), "edge")
    found = np.full(pictures.shape[:3], np.inf, np.float32)
    for down in range(2 * SWAY + 1):
        for across in range(2 * SWAY + 1):
            moved = padded[..., down : down + rows, across : across + columns, :]
            found = np.minimum(found, np.abs(pictures - moved).mean(axis=3))
    return np.asarray(found, np.float32)


def _worst_blocks(unlike: "NDArray[np.float32]") -> list[float]:
    """The mean of each picture's blocks that are least like, over the noise."""
    import numpy as np

    flat = unlike.reshape(len(unlike), -1)
    worst = max(1, round(flat.shape[1] * LOCAL))
    means = np.partition(flat, -worst, axis=1)[:, -worst:].mean(axis=1)
    return [max(0.0, float(mean) - NOISE) for mean in means]


def _new_in(look: FrameLook, others: Sequence[FrameLook]) -> float:
    """How much a candidate shows that none of the others does."""
    import numpy as np

    left = np.full((1, *look.small.shape[:2]), np.inf, np.float32)
    for other in others:
        left = np.minimum(left, _unlike(look.small[None], other.small))
    return _worst_blocks(left)[0]


def _weights(looks: Sequence[FrameLook]) -> list[float]:
    """What the newness of each counts: less where it is blurred, or passes in a moment."""
    found = []
    for place, (look, new) in enumerate(zip(looks, _new_beside(looks), strict=True)):
        around = looks[max(0, place - AROUND) : place + AROUND + 1]
        sharpest = max(one.sharpness for one in around)
        share = look.sharpness / sharpest if sharpest > 0 else 1.0
        found.append(min(1.0, share / SHARP) ** 2 * (PASSING if new > NOISE else 1.0))
    return found


def _new_beside(looks: Sequence[FrameLook]) -> list[float]:
    """How much each shows that neither the one before nor the one after it does."""
    import numpy as np

    if len(looks) < 2:
        return [0.0] * len(looks)
    pictures = np.stack([look.small for look in looks])
    left = np.full(pictures.shape[:3], np.inf, np.float32)
    left[1:] = _unlike(pictures[1:], pictures[:-1])
    left[:-1] = np.minimum(left[:-1], _unlike(pictures[:-1], pictures[1:]))
    return _worst_blocks(left)


def _best_of(weights: Sequence[float], places: Sequence[int]) -> int:
    """The first of the places with the highest weight."""
    return max(places, key=lambda place: weights[place])


def _ends(weights: Sequence[float]) -> list[int]:
    count = len(weights)
    first = _best_of(weights, range(min(AROUND, max(count - 1, 1))))
    last = range(count - 1, max(count - 1 - AROUND, first), -1)
    return [first, _best_of(weights, last)] if last else [first]


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
    """The sharpest place near the middle of the widest gap between chosen ones."""
    gaps = [(one, later) for one, later in pairwise(sorted(chosen)) if later > one + 1]
    if not gaps:  # all that is left stands before the first or after the last
        return next(place for place in range(len(looks)) if place not in chosen)
    begin, end = max(gaps, key=lambda gap: looks[gap[1]].time - looks[gap[0]].time)
    middle = (begin + end) // 2
    near = range(middle - AROUND, middle + AROUND + 1)
    around = [place for place in near if begin < place < end]
    return max(around, key=lambda place: (weights[place], -abs(place - middle)))
