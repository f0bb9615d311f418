"""Speech is found where silero finds it, in a track of any length."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import UsageError
from stages.sound.track import RATE
from stages.sound.voice import WINDOW, Listening, VoiceNetwork, heard_before, network
from stages.speech.chunk_plan import SHORTEST_SILENCE
from stages.speech.vad import SpeechDetector, speech_spans


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
    monkeypatch.setattr("stages.sound.voice.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"penstock\[speech\].*backend"):
        network()


@pytest.mark.parametrize("seconds", [0.0, 0.01, 150.0])
def test_what_was_heard_while_the_track_was_decoded_is_what_is_heard_after_that(
    two_cities, tmp_path, seconds
):
    track = np.tile(two_cities, 4)[: round(seconds * RATE)]
    with Listening(VoiceNetwork()) as listening:
        for piece in np.array_split(track, 7):
            listening.hear(piece)
        listening.write(tmp_path)

    known = heard_before(tmp_path)
    assert known is not None
    assert len(known) == -(-len(track) // WINDOW)
    # Nothing is asked again: with these probabilities the samples themselves do not matter.
    told = SpeechDetector(0.35).find(np.zeros_like(track), known)
    assert told == SpeechDetector(0.35).find(track)
    assert bool(told) == (seconds > 1)


def test_another_network_has_told_nothing(two_cities, tmp_path, monkeypatch):
    with Listening(VoiceNetwork()) as listening:
        listening.hear(two_cities[:RATE])
        listening.write(tmp_path)
    monkeypatch.setattr("stages.sound.voice.network", lambda: Path("silero_vad_v99.onnx"))
    assert heard_before(tmp_path) is None
