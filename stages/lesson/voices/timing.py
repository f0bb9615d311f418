"""When each sentence is said, in a recording that has them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.lesson.voices.pcm import RATE

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

WINDOW = 0.02
QUIET = 0.05
"""Of the loudest window: what is below is a pause."""

SHORTEST = 0.12
"""Seconds of a pause between sentences, at least."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, and its seconds."""

    start: float
    end: float
    text: str

    def as_json(self) -> dict[str, Any]:
        return {"start": round(self.start, 3), "end": round(self.end, 3), "text": self.text}


def timed(sentences: Sequence[str], samples: "Samples") -> list[Said]:
    """The sentences with their times: as long as they have letters, and cut in the pause that is
    next to where that would be, if it is near."""
    whole = len(samples) / RATE
    letters = [max(1, len(one)) for one in sentences]
    found, begin, cuts = [], 0.0, pauses(samples)
    for number, text in enumerate(sentences):
        due = whole * sum(letters[: number + 1]) / sum(letters)
        if number == len(sentences) - 1:
            found.append(Said(begin, whole, text))
            break
        slack = 0.5 * whole * min(letters[number : number + 2]) / sum(letters)
        near = [one for one in cuts if abs(sum(one) / 2 - due) <= slack and one[0] > begin]
        end, after = min(near, key=lambda one: abs(sum(one) / 2 - due), default=(due, due))
        found.append(Said(begin, end, text))
        begin = after
    return found


def pauses(samples: "Samples") -> list[tuple[float, float]]:
    """The (start, end) in seconds of each pause."""
    import numpy as np

    size = round(WINDOW * RATE)
    many = len(samples) // size
    if not many:
        return []
    windows = samples[: many * size].reshape(many, size).astype(np.float32)
    loud = np.sqrt((windows**2).mean(axis=1))
    quiet = np.concatenate([[False], loud < loud.max() * QUIET, [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
    spans = ((a * WINDOW, b * WINDOW) for a, b in zip(edges[::2], edges[1::2], strict=True))
    return [(float(a), float(b)) for a, b in spans if b - a >= SHORTEST]
