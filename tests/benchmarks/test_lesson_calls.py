"""The replay of lessons: what bounds the calls, and pools that make every call once."""

import threading
from collections import Counter

import pytest

from benchmarks.lesson_calls import IMAGE, SECTIONS, VOICE, bound, scripted
from benchmarks.lesson_pools import ThreadPools


@pytest.mark.parametrize(
    ("images", "at_once", "per_minute", "seconds"),
    [
        (10, 4, None, 40.0),
        (10, 20, None, IMAGE),
        (80, 8, None, 10 * IMAGE),
        (10, 8, 6.0, 90 + IMAGE),
        (10, 1, 60.0, 10 * IMAGE),
    ],
)
def test_bounds(images: int, at_once: int, per_minute: float | None, seconds: float) -> None:
    assert bound(images, at_once, per_minute) == pytest.approx(seconds)
    assert pytest.approx(150.0) == SECTIONS * (IMAGE + VOICE)


@pytest.mark.parametrize("both", [False, True])
def test_pools_make_every_call_once(both: bool) -> None:
    calls: Counter[str] = Counter()
    lock = threading.Lock()

    def call(text: str) -> None:
        with lock:
            calls[text] += 1

    videos = scripted(3, "a")
    ThreadPools(call, call, videos=2, sections=4, both=both).make(videos)
    sections = [section for video in videos for section in video]
    assert calls == Counter([s.image for s in sections] + [s.text for s in sections])
