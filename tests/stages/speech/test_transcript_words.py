"""Words keep their times, and none is lost or doubled where chunks, scenes or holes meet."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.speech.transcript_words import (
    PieceTimes,
    SpeechSegment,
    Stretch,
    Word,
    holes,
    seam,
    spelled,
    spread,
    within,
)


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words one after the other, of a tenth to a whole second, in hundredths."""
    words, at = [], 0
    for number in range(draw(st.integers(1, 60))):
        start = at + draw(st.sampled_from([0, 0, 0, 20, 150]))
        at = start + draw(st.integers(10, 100))
        words.append(Word(start / 100, at / 100, f"w{number}"))
    return words


def segments(words: list[Word], every: int = 7) -> list[SpeechSegment]:
    groups = [words[at : at + every] for at in range(0, len(words), every)]
    return [SpeechSegment(" ".join(one.word for one in group), tuple(group)) for group in groups]


def said(found: list[SpeechSegment]) -> list[str]:
    return [word.word for one in found for word in one.words]


@given(spoken(), st.lists(st.integers(0, 6000), max_size=6))
def test_each_word_is_in_one_scene(words, cuts):
    whole = segments(words)
    edges = [float("-inf"), *sorted(cut / 100 for cut in cuts), float("inf")]
    scenes = [list(within(whole, start, end)) for start, end in pairwise(edges)]
    assert [word for scene in scenes for word in said(scene)] == [one.word for one in words]
    for scene in scenes:
        assert all(one.text.split() == [word.word for word in one.words] for one in scene)


@given(spoken(), st.integers(0, 5000), st.data())
def test_what_two_chunks_hear_is_written_once(words, middle, data):
    """Each hears the words a little earlier or later, and none that its edge goes through."""
    shared = Stretch(middle / 100 - 2, middle / 100 + 2)
    drift = data.draw(st.lists(st.integers(-2, 2), min_size=2, max_size=9))

    def heard(those: list[Word], by: int) -> list[SpeechSegment]:
        late = [drift[(number + by) % len(drift)] / 100 for number in range(len(those))]
        return segments(
            [Word(one.start + d, one.end + d, one.word) for one, d in zip(those, late, strict=True)]
        )

    first = heard([one for one in words if one.start < shared.end - 0.5], 0)
    second = heard([one for one in words if one.end > shared.start + 0.5], 1)
    at = seam(first, second, shared)
    found = [*within(first, -1, at), *within(second, at, float("inf"))]
    assert said(found) == [one.word for one in words]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(20, 900)), min_size=1, max_size=8))
def test_times_in_a_file_are_those_in_the_video_and_back(lengths):
    pieces, at = [], 0.0
    for silence, length in lengths:
        pieces.append(Stretch(at + silence / 100, at + (silence + length) / 100))
        at = pieces[-1].end
    timeline, offset = PieceTimes(pieces), 0.0
    for piece in pieces:
        length = piece.end - piece.start
        word = timeline.placed(Word(offset + 0.05, offset + 0.15, "a"))
        assert word.start == pytest.approx(piece.start + 0.05)
        assert word.end == pytest.approx(min(piece.start + 0.15, piece.end))
        assert timeline.second(piece.start + 0.1) == pytest.approx(offset + 0.1)
        offset += length
    assert timeline.second(at + 100) == pytest.approx(offset)
    assert timeline.second(0) == 0


def test_a_word_over_a_splice_stays_in_one_piece():
    timeline = PieceTimes([Stretch(0, 10), Stretch(50, 60)])
    assert timeline.placed(Word(9.5, 10.2, "a")) == Word(9.5, 10, "a")
    assert timeline.placed(Word(9.9, 10.5, "a")) == Word(50, 50.5, "a")


def test_words_without_times_are_spread_over_the_speech():
    words = spread("one two threes", [Stretch(1, 2), Stretch(5, 7)])
    assert [(one.start, one.end, one.word) for one in words] == [
        (1.0, 1.75, "one"),
        (5.0, 5.5, "two"),
        (5.5, 7.0, "threes"),
    ]
    assert spread("", [Stretch(0, 1)]) == ()


def test_words_are_spelled_as_the_text_has_them():
    words = [Word(0, 1, "it"), Word(1, 2, "was")]
    assert [one.word for one in spelled(" It was. ", words)] == ["It", "was."]
    assert [one.word for one in spelled("It was the best", words)] == ["it", "was"]


def test_holes_are_speech_between_two_words():
    speech = [Stretch(0, 4), Stretch(5, 6), Stretch(7, 9), Stretch(20, 21.9)]
    told = [SpeechSegment("a b", (Word(0, 1, "a"), Word(8.8, 9, "b")))]
    assert holes(speech, told) == [Stretch(1, 8.8)]
    assert holes(speech, []) == [Stretch(0, 21.9)]
    assert holes([Stretch(20, 21.9)], []) == []
    many = tuple(Word(start, start + 1, "a") for start in range(30))
    assert holes(speech, [SpeechSegment("a", many)]) == []


def test_a_word_that_is_stretched_over_lost_ones_covers_little() -> None:
    told = [SpeechSegment("in the", (Word(38.3, 38.9, "in"), Word(38.9, 44.4, "the")))]
    assert holes([Stretch(38, 41.7)], told) == [pytest.approx((39.2, 41.7))]
    assert told[0].words[1].trimmed() == Word(38.9, 40.4, "the")


@pytest.mark.parametrize(
    ("numbers", "doubtful"),
    [
        ({}, False),
        ({"avg_logprob": -0.3, "no_speech_prob": 0.9}, False),
        ({"avg_logprob": -0.7, "no_speech_prob": 0.9}, True),
        ({"avg_logprob": -1.2}, True),
        ({"compression_ratio": 3.0}, True),
    ],
)
def test_what_a_model_may_have_made_up_is_doubtful(numbers, doubtful):
    assert SpeechSegment("you", (Word(0, 1, "you"),), **numbers).doubtful is doubtful
