"""Speech is found where silero finds it, in a track of any length."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import UsageError
from stages.sound.track import RATE
from stages.speech.chunk_plan import SHORTEST_SILENCE
from stages.speech.vad import WINDOW, SpeechDetector, network, speech_spans


@given(st.lists(st.sampled_from([0.01, 0.3, 0.9]), max_size=200))
def test_speech_is_what_reaches_the_threshold_and_pauses_within(levels):
    found = speech_spans(levels, 0.5)
    for one, after in pairwise(found):
        assert after.start - one.end >= SHORTEST_SILENCE
    for span in found:
        assert levels[span.start // WINDOW] == 0.9
        assert 0 <= span.start < span.end <= len(levels) * WINDOW
    loud = {at for at, level in enumerate(levels) if level == 0.9}
    inside = {at for span in found for at in range(span.start // WINDOW, span.end // WINDOW)}
    # Only what is too short to be a word is left out.
    assert all(not {at - 1, at, at + 1, at + 2} <= loud for at in loud - inside)


def test_probabilities_are_those_of_faster_whisper(two_cities):
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        threshold=0.35, neg_threshold=0.2, min_silence_duration_ms=224, speech_pad_ms=0
    )
    track = np.concatenate([two_cities, np.zeros(3 * RATE, np.int16)] * 3)
    theirs = get_speech_timestamps(track.astype(np.float32) / 32768, options)
    ours = SpeechDetector(0.35).find(track)
    assert len(ours) > 30
    assert [(one["start"], one["end"]) for one in theirs] == ours


def test_where_the_network_is_missing_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setattr("stages.speech.vad.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"penstock\[speech\].*backend"):
        network()
