"""The demo's voice: sentences that espeak-ng has spoken, recorded, and known to the word.

benchmarks/record_demo_voice.py makes the recordings; so a demo sounds the same on every machine.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

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
