"""Which of a video's sounds are a scene's."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stages.scenes.record import TimeSpan
from stages.scenes.sounds_of_scene import tags_between, wordless_between, words_of


def window(start: float, end: float, **scores: float) -> dict[str, Any]:
    tags = [{"label": label, "score": score} for label, score in scores.items()]
    return {"start": start, "end": end, "tags": tags}


def test_windows_count_by_the_seconds_that_they_share_with_the_scene():
    windows = [window(0, 10, Speech=0.8), window(5, 15, Speech=0.4, Dog=0.9), window(10, 20)]
    found = tags_between(windows, 8, 12)
    # 2, 4 and 2 seconds of the three windows
    assert [(tag.label, tag.score) for tag in found] == [("Dog", 0.45), ("Speech", 0.4)]
    assert tags_between(windows, 20, 30) == ()
    assert [tag.score for tag in tags_between(windows, 0, 4)] == [0.8]


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 10), st.floats(0, 1)), max_size=8),
    st.floats(0, 50),
    st.floats(0.1, 20),
)
def test_a_score_lies_between_those_of_the_windows(
    found: list[tuple[float, float, float]], start: float, length: float
):
    windows = [window(begin, begin + long, Dog=score) for begin, long, score in found]
    near = [
        one for one in windows if min(one["end"], start + length) - max(one["start"], start) > 0
    ]
    scores = [tag["score"] for one in near for tag in one["tags"]]
    for tag in tags_between(windows, start, start + length):
        assert min(scores) - 1e-4 <= tag.score <= max(scores) + 1e-4


def test_speech_and_singing_without_a_word_are_told():
    windows = [
        window(0, 10, **{"Male speech, man speaking": 0.6}),
        window(5, 15, Singing=0.5),
        window(10, 20, Speech=0.2),
        window(15, 25, Music=0.9),
        window(20, 30, Speech=0.9),
    ]
    assert wordless_between(windows, [], 2, 28) == (
        TimeSpan(start=2, end=15),
        TimeSpan(start=20, end=28),
    )
    assert wordless_between(windows, [(7, 8)], 2, 28) == (TimeSpan(start=20, end=28),)
    assert wordless_between(windows, [(7, 8), (29, 29.5)], 2, 28) == ()
    assert wordless_between(windows, [], 16, 19) == ()


def test_a_segment_without_word_times_counts_as_its_own():
    transcript = {
        "segments": [
            {"start": 1, "end": 4, "text": "a b", "words": [{"start": 1, "end": 2, "word": "a"}]},
            {"start": 6, "end": 8, "text": "c", "words": []},
        ]
    }
    assert words_of(transcript) == [(1, 2), (6, 8)]
