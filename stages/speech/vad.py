"""Where there is speech in a track."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from engine import checkpoint
from stages.sound.track import RATE
from stages.sound.voice import BLOCK, WINDOW, VoiceNetwork
from stages.speech.chunk_plan import SHORTEST_SILENCE
from stages.speech.spans import SampleSpan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOWER = 0.15
"""How far under the threshold a probability has to fall before speech has ended."""

_SHORTEST_SPEECH = RATE // 10
"""Samples: what is shorter is a click, not a word."""


class SpeechDetector:
    """Finds speech in samples. Raises UsageError where the network is missing."""

    def __init__(self, threshold: float) -> None:
        self._network = VoiceNetwork()
        self._threshold = threshold

    def find(
        self, samples: "NDArray[np.int16]", known: "NDArray[np.float32] | None" = None
    ) -> list[SampleSpan]:
        """Speech in samples of shape (samples,), in order. `known` are the probabilities that the
        network told of them before."""
        probabilities = self._probabilities(samples) if known is None else map(float, known)
        found = speech_spans(probabilities, self._threshold)
        return [SampleSpan(one.start, min(one.end, len(samples))) for one in found]

    def _probabilities(self, samples: "NDArray[np.int16]") -> Iterator[float]:
        tell = self._network.along_a_track()
        for start in range(0, len(samples), BLOCK):
            checkpoint()
            yield from map(float, tell(samples[start : start + BLOCK]))


def speech_spans(probabilities: Iterable[float], threshold: float) -> list[SampleSpan]:
    """Speech, where `probabilities` are those of the windows one after the other.

    It begins where one reaches the threshold, and ends where they stay well under it for as long as
    a chunk may be cut in.
    """
    found: list[SampleSpan] = []
    begin = quiet = None
    number = -1
    for number, probability in enumerate(probabilities):
        at = number * WINDOW
        if probability >= threshold:
            begin, quiet = at if begin is None else begin, None
        elif begin is not None and probability < threshold - _LOWER:
            quiet = at if quiet is None else quiet
            if at + WINDOW - quiet >= SHORTEST_SILENCE:
                found.append(SampleSpan(begin, quiet))
                begin = quiet = None
    if begin is not None:
        found.append(SampleSpan(begin, quiet or (number + 1) * WINDOW))
    return [one for one in found if one.length >= _SHORTEST_SPEECH]
