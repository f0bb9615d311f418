"""Tags of sounds: which of a model's labels is heard when. What runs the model is elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from engine import checkpoint
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FULL_SCALE = 32768


class Tagger(Protocol):
    """A model that tells how likely each of its labels is heard in a window of sound.

    `labels` are their names, `usual` the seconds of a window where nobody asks for other ones, and
    `longest` those that the model takes at most: it would not hear what comes after.
    """

    name: str
    labels: Sequence[str]
    usual: float
    longest: float

    def scores(self, windows: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
        """The scores, 0 to 1, of shape (windows, labels). Each window is mono, 16 kHz, -1 to 1, and
        at most `longest` seconds."""


@dataclass(frozen=True, slots=True)
class TaggedWindow:
    """What is heard from second `start` to `end`: labels and their scores, the highest first."""

    start: float
    end: float
    tags: tuple[tuple[str, float], ...]


def windows_over(length: float, window: float, hop: float) -> Iterator[tuple[float, float]]:
    """The beginnings and ends of windows over `length` seconds, one every `hop` seconds.

    All of it is covered. The last window ends with the sound, so it may be shorter, but only a
    sound that is shorter than a window has one shorter than `window - hop`.
    """
    start, number = 0.0, 0
    while start < length:
        yield round(start, 6), round(min(start + window, length), 6)
        if start + window >= length:
            return
        number += 1
        start = number * hop


def tag_track(
    tagger: Tagger,
    samples: "NDArray[np.int16]",
    *,
    window: float,
    hop: float,
    threshold: float,
    most: int,
    batch: int,
) -> Iterator[TaggedWindow]:
    """What is heard in each window of a track, in order, `batch` windows at a time.

    `samples` are 16 kHz, mono, of shape (samples,). Kept are labels with a score of at least
    `threshold`, at most `most` a window.
    """
    spans = windows_over(len(samples) / RATE, min(window, tagger.longest), hop)
    while some := list(islice(spans, batch)):
        checkpoint()
        scored = zip(some, tagger.scores(_sounds(samples, some)), strict=True)
        for (start, end), scores in scored:
            yield TaggedWindow(start, end, _best(tagger.labels, scores, threshold, most))


def _sounds(
    samples: "NDArray[np.int16]", spans: Sequence[tuple[float, float]]
) -> list["NDArray[np.float32]"]:
    """Windows that are in order and overlap: views of their samples, each of them read once."""
    import numpy as np

    edges = [(round(start * RATE), round(end * RATE)) for start, end in spans]
    begin = edges[0][0]
    # A power of two: no sample is rounded.
    line = np.multiply(samples[begin : edges[-1][1]], np.float32(1 / FULL_SCALE), dtype=np.float32)
    return [line[start - begin : end - begin] for start, end in edges]


def _best(
    labels: Sequence[str], scores: "NDArray[np.float32]", threshold: float, most: int
) -> tuple[tuple[str, float], ...]:
    order = sorted(range(len(labels)), key=lambda at: (-float(scores[at]), at))[:most]
    return tuple(
        (labels[at], round(float(scores[at]), 4)) for at in order if scores[at] >= threshold
    )
