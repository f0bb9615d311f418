"""Ranks: two rankings made one, and neighbouring scenes made one answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stages.sinks.texts import Column

FUSION = 60
"""Of reciprocal rank fusion (Cormack et al., 2009): how little the first ranks differ."""

NEARLY = 0.5
"""The share of its neighbour's relevance from which a scene belongs to the same answer."""


@dataclass(frozen=True, slots=True)
class RankedScene:
    """A scene that was found: its key, its video and place in it, and how well it fits, as a share
    of the best one's, in the ranking where it fits better."""

    key: int
    video: str
    scene: int
    relevance: float
    column: Column | None = None
    """The column that fits, where the ranking knows: not by the words in it."""


@dataclass(slots=True)
class Neighbours:
    """Neighbouring scenes of a video, the best one first."""

    scenes: list[RankedScene]
    score: float
    places: tuple[int, int] = field(init=False)
    """The first and the last place in the video."""

    def __post_init__(self) -> None:
        self.places = (self.scenes[0].scene, self.scenes[0].scene)

    def touches(self, other: RankedScene) -> bool:
        first, last = self.places
        return (
            other.video == self.scenes[0].video
            and first - 1 <= other.scene <= last + 1
            and other.relevance >= NEARLY * self.scenes[0].relevance
        )

    def take(self, other: RankedScene) -> None:
        self.scenes.append(other)
        first, last = self.places
        self.places = (min(first, other.scene), max(last, other.scene))


def fused(rankings: Iterable[Sequence[RankedScene]]) -> list[tuple[RankedScene, float]]:
    """The scenes of all rankings, best first, with their scores: the sum of 1/(60 + rank)."""
    scores: dict[int, float] = {}
    best: dict[int, RankedScene] = {}
    for ranking in rankings:
        for rank, found in enumerate(ranking, 1):
            scores[found.key] = scores.get(found.key, 0.0) + 1 / (FUSION + rank)
            known = best.setdefault(found.key, found)
            if found.relevance > known.relevance:
                best[found.key] = found
    order = sorted(best.values(), key=lambda found: (-scores[found.key], found.key))
    return [(found, scores[found.key]) for found in order]


def merged(ranked: Iterable[tuple[RankedScene, float]]) -> list[Neighbours]:
    """Answers, best first: a scene next to a better one of the same video joins its answer, unless
    it fits far worse."""
    answers: list[Neighbours] = []
    by_video: dict[str, list[Neighbours]] = {}
    for found, score in ranked:
        near = by_video.setdefault(found.video, [])
        for answer in near:
            if answer.touches(found):
                answer.take(found)
                break
        else:
            answers.append(Neighbours([found], score))
            near.append(answers[-1])
    return answers


def relative(scores: Mapping[int, float]) -> dict[int, float]:
    """The scores as shares of the best, which is over 0."""
    best = max(scores.values(), default=1.0)
    return {key: score / best for key, score in scores.items()}
