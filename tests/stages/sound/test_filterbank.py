"""Spectrograms for an AST: those of transformers' own extractor."""

import numpy as np
import pytest

from stages.models.pretrained import import_transformers
from stages.sound.filterbank import Filterbank, unwarned
from stages.sound.track import RATE


@pytest.mark.parametrize("seconds", [2.56, 1.0, 0.025, 4.0])
def test_it_gives_what_the_extractor_of_transformers_gives(seconds: float) -> None:
    with unwarned():
        extractor = import_transformers().ASTFeatureExtractor(num_mel_bins=128, max_length=256)
    chance = np.random.default_rng(0)
    times = np.arange(round(seconds * RATE)) / RATE
    sound = 0.4 * np.sin(2 * np.pi * 440 * times) + chance.normal(0, 0.01, len(times))
    sound = sound.astype(np.float32)
    theirs = extractor(sound, sampling_rate=RATE, return_tensors="np")["input_values"]
    [ours] = Filterbank(extractor)([sound])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs[0], atol=2e-3)


def test_a_sound_shorter_than_a_frame_has_one() -> None:
    extractor = import_transformers().ASTFeatureExtractor(num_mel_bins=32, max_length=16)
    [made] = Filterbank(extractor)([np.ones(10, np.float32)])
    assert made.shape == (16, 32)
    assert len(np.unique(made[1:])) == 1
