"""How well the cuts that a detector finds fit those that are there."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CutScore:
    """Cuts that were found and are there, that were found and are not, and that were not found."""

    hits: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """Of the cuts that were found, the share that is there; 1 where none was found."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0

    @property
    def recall(self) -> float:
        """Of the cuts that are there, the share that was found; 1 where there is none."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        both = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / both if both else 1.0


def score_cuts(found: Sequence[int], real: Sequence[int], tolerance: int) -> CutScore:
    """Each cut, by the number of the first frame after it, counts for one of the others at most,
    which is `tolerance` frames away or nearer; as many pairs are made as there can be."""
    ours, theirs = sorted(found), sorted(real)
    hits = at = other = 0
    while at < len(ours) and other < len(theirs):
        apart = ours[at] - theirs[other]
        # The earliest of each that are near enough make a pair: a later partner helps neither.
        hits += abs(apart) <= tolerance
        at, other = at + (apart <= tolerance), other + (apart >= -tolerance)
    return CutScore(hits, len(ours) - hits, len(theirs) - hits)
