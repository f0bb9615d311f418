"""Sound for the tests of speech, and a real Whisper."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import WhisperModel, decode_audio

from stages.sound.track import RATE
from tests.stages.speech_server import load_whisper


@pytest.fixture
def noise() -> Callable[[float], np.ndarray]:
    def make(seconds: float) -> np.ndarray:
        count = round(seconds * RATE)
        return np.random.default_rng(3).integers(-32768, 32767, count).astype(np.int16)

    return make


@pytest.fixture(scope="session")
def whisper() -> WhisperModel:
    return load_whisper()


@pytest.fixture(scope="session")
def two_cities() -> np.ndarray:
    """44 s of Dickens, read aloud: samples at RATE."""
    package = find_spec("moonshine_voice")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the recording in the package moonshine-voice")
    path = Path(package.submodule_search_locations[0]) / "assets" / "two_cities.wav"
    return (decode_audio(str(path)) * 32767).astype(np.int16)
