"""Sentences, their times, and how loud they are: no letter is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lesson.voices.espeak import spoken_as
from stages.lesson.voices.pcm import RATE, evened, joined, loudness_of
from stages.lesson.voices.sentences import pieces_of, sentences_of
from stages.lesson.voices.timing import pauses, timed

TEXT = st.text("ab .,!?;。e.g Dr\n", max_size=200)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('Dr. Who said "Go." He went.', ['Dr. Who said "Go."', "He went."]),
        ("It is 3.5 m, e.g. here. Really?!  Yes…", ["It is 3.5 m, e.g. here.", "Really?!", "Yes…"]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("A heading\n\nThe text", ["A heading", "The text"]),
        ("  ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


@given(TEXT)
def test_no_letter_is_lost_in_sentences(text: str) -> None:
    assert "".join("".join(sentences_of(text)).split()) == "".join(text.split())


@given(TEXT.map(lambda text: " ".join(text.split())), st.integers(4, 60))
def test_no_letter_is_lost_in_pieces_and_none_is_too_long(text: str, most: int) -> None:
    pieces = pieces_of(text, most)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(piece) <= most for piece in pieces)


def test_words_are_said_as_they_are_to_be() -> None:
    how = {"SQL": "sequel", "SQLite": "sequel light"}
    assert (
        spoken_as("SQLite speaks SQL, not MySQL.", how) == "sequel light speaks sequel, not MySQL."
    )


def tone(seconds: float, loud: int = 8000) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    at = np.arange(round(seconds * RATE)) / RATE
    return (loud * np.sin(2 * np.pi * 300 * at)).astype(np.int16)


def test_sentences_of_a_recording_are_cut_in_its_pauses() -> None:
    samples = joined([tone(1.0), tone(2.4), tone(1.5)], 0.5)
    assert pauses(samples) == [
        pytest.approx((1.0, 1.5), abs=0.03),
        pytest.approx((3.9, 4.4), abs=0.03),
    ]
    found = timed(["A" * 12, "B" * 20, "C" * 16], samples)
    times = [(one.start, one.end) for one in found]
    assert times[0] == pytest.approx((0.0, 1.0), abs=0.03)
    assert times[1] == pytest.approx((1.5, 3.9), abs=0.03)
    assert times[2] == pytest.approx((4.4, 5.9), abs=0.03)


def test_sentences_without_a_pause_share_the_time_by_their_letters() -> None:
    found = timed(["A" * 10, "B" * 30], tone(4.0))
    assert [(one.start, one.end) for one in found] == [(0.0, 1.0), (1.0, 4.0)]
    assert timed([], tone(1.0)) == []


@pytest.mark.parametrize("loud", [300, 8000, 32000])
def test_voices_are_as_loud_as_one_another(loud: int) -> None:
    even = loudness_of(evened(tone(2.0, loud)))
    assert even == pytest.approx(-18.0, abs=0.3)


def test_silence_stays_silent() -> None:
    silence = np.zeros(RATE, np.int16)
    assert loudness_of(silence) is None
    assert not evened(silence).any()
