"""Frames that are kept while a scene passes, as its samples are known only once it has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stages.scenes.cuts.boundaries import Scene

T = TypeVar("T")

FOR_EACH = 4
"""Frames kept of a scene for each one that is wanted: a sample is at most a quarter of its part of
the scene away from the middle of it. More would be more exact, and take more memory."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """A thing that stands for the frame of that number."""

    number: int
    thing: T


class Candidates(Generic[T]):
    """Keeps a bounded number of a scene's frames, evenly spread, however long it is."""

    def __init__(self, wanted: int) -> None:
        """`wanted` is the number of samples of a scene."""
        self._wanted = wanted
        self._most = FOR_EACH * wanted
        self._ended: list[Candidate[T]] = []
        """Of scenes that have ended, but may still grow."""
        self._open: list[Candidate[T]] = []
        self._step = 1

    @property
    def held(self) -> int:
        """Number of frames in memory."""
        return len(self._ended) + len(self._open)

    def offer(self, number: int, thing: T) -> None:
        """The next frame, of the open scene as far as is known."""
        if self._open and number - self._open[-1].number < self._step:
            return
        self._open.append(Candidate(number, thing))
        if len(self._open) > self._most:
            del self._open[1::2]
            self._step *= 2

    def begin(self, first: int) -> None:
        """The open scene begins with that frame, which may be one of those before."""
        kept = [one for one in self._open if one.number >= first]
        if len(kept) < len(self._open):
            self._ended += [one for one in self._open if one.number < first]
            self._open, self._step = kept, 1

    def take(self, scene: Scene) -> list[Candidate[T]]:
        """The samples of a scene, which is whole: those nearest to the middles of `wanted` equal
        parts, each once, in order."""
        those = [one for one in self._ended if one.number < scene.after]
        del self._ended[: len(those)]
        length = scene.after - scene.first
        places = [
            scene.first + length * (2 * part + 1) / (2 * self._wanted) - 0.5
            for part in range(self._wanted)
        ]
        return _nearest_to(those, places)


def _nearest_to(those: Sequence[Candidate[T]], places: Sequence[float]) -> list[Candidate[T]]:
    chosen = {
        min(range(len(those)), key=lambda at: abs(those[at].number - place)): None
        for place in places
        if those
    }
    return [those[at] for at in chosen]
