"""What is heard in the demos: sentences, which espeak-ng has spoken once and for all, so that a
demo sounds the same on every machine; and sounds with a name, which the tagger that ships with
Penstock has learnt to hear.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.sound.track import RATE
from stages.speech.audio_file import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RECORDINGS = Path(__file__).with_name("voice")

SENTENCES: Mapping[str, str] = {
    "boat": "Our boat leaves the island early in the morning.",
    "letter": "The old man writes a letter to his sister.",
    "museum": "We are going to visit the museum on Sunday afternoon.",
    "train": "The train to the mountains will arrive in half an hour.",
    "trees": "Tomorrow we will plant four apple trees behind the house.",
    "umbrella": "Please bring the blue umbrella, because it might rain.",
}
"""What is said in each recording, by its file's name."""


@cache
def recording(name: str) -> "NDArray[np.int16]":
    """The samples of a sentence, shape (samples,), at RATE."""
    return decode((RECORDINGS / f"{name}.ogg").read_bytes())


def seconds_of(name: str) -> float:
    return len(recording(name)) / RATE


SOUNDS = ("Tone", "Noise", "Clicks")


def sound(name: str, times: Any, chance: Any) -> Any:
    """One of SOUNDS at these times in seconds, at full scale; `chance` is numpy's random
    generator, and decides its pitch or pace."""
    import numpy as np

    if name == "Tone":
        return np.sin(2 * np.pi * 10 ** chance.uniform(2.2, 3.6) * times)
    if name == "Noise":
        return chance.uniform(-1, 1, len(times))
    every, long = int(RATE * chance.uniform(0.15, 0.5)), 160
    ticks = np.zeros(len(times))
    for at in range(int(chance.uniform(0, every)), len(times) - long, every):
        ticks[at : at + long] = chance.uniform(-1, 1, long) * np.linspace(1, 0, long)
    return ticks
