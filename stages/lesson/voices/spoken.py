"""What was spoken, and whether it can be what a text says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.lesson.voices.pcm import RATE
from stages.lesson.voices.timing import Said

if TYPE_CHECKING:
    from stages.lesson.voices.pcm import Samples

FASTEST = 45
"""Characters a second that nobody speaks: what is shorter than that has lost its end."""

QUIETEST = 100
"""The loudest sample of what can be heard, at least."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Samples, when each sentence is, in seconds from their beginning, and what it took: calls of a
    service with so many characters."""

    samples: "Samples"
    said: list[Said]
    made_by: str
    calls: int = 0
    characters: int = 0


def fault_of(samples: "Samples", text: str) -> str | None:
    """Why these cannot be what the text says; None where they can."""
    if not len(samples) or int(abs(samples.astype("int32")).max()) < QUIETEST:
        return "there is nothing to be heard in what was spoken"
    if (seconds := len(samples) / RATE) < len(text) / FASTEST:
        return f"{seconds:.1f} s are far too short for {len(text)} characters"
    return None
