"""Windows over a track."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.sound.tagging import tag_track, windows_over
from stages.sound.track import RATE

seconds = st.floats(0.1, 30).map(lambda number: round(number, 3))


@given(seconds, seconds, st.floats(0.2, 1))
def test_windows_cover_all_of_a_track_and_nothing_else(
    length: float, window: float, share: float
) -> None:
    hop = round(window * share, 3)
    found = list(windows_over(length, window, hop))
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(length)
    for (start, end), (after, _) in pairwise(found):
        assert after - start == pytest.approx(hop, abs=2e-6)
        assert end - start == pytest.approx(window, abs=2e-6)
        assert after <= end + 2e-6, "no gap"
    if len(found) > 1:
        assert found[-1][1] - found[-1][0] > window - hop - 1e-5


class Ear:
    """Hears how loud a window is."""

    name, labels, usual, longest = "ear", ("loud", "any"), 2.0, 2.0

    def __init__(self) -> None:
        self.batches: list[int] = []

    def scores(self, windows):
        self.batches.append(len(windows))
        assert all(len(window) <= self.longest * RATE for window in windows)
        return np.array([[np.abs(window).max(), 0.25] for window in windows], np.float32)


def test_no_window_is_longer_than_the_model_takes_and_weak_labels_are_left_out():
    samples = np.zeros(7 * RATE, np.int16)
    samples[-1] = 16384
    ear = Ear()
    options = {"window": 60, "hop": 1.0, "most": 2, "batch": 4}
    found = list(tag_track(ear, samples, threshold=0.25, **options))
    assert ear.batches == [4, 2]
    assert [one.start for one in found] == [0, 1, 2, 3, 4, 5]
    assert found[0].tags == (("any", 0.25),)
    assert found[-1].tags == (("loud", 0.5), ("any", 0.25))
    assert not list(tag_track(ear, samples[:0], threshold=0.25, **options))


def test_a_window_is_the_tracks_samples_from_its_start_to_its_end():
    samples = np.arange(-32768, 32767, dtype=np.int16)

    class Kept(Ear):
        def scores(self, windows):
            heard.extend(windows)
            return super().scores(windows)

    heard: list[np.ndarray] = []
    options = {"window": 1.0, "hop": 0.7, "threshold": 0.2, "most": 1, "batch": 3}
    for one, window in zip(tag_track(Kept(), samples, **options), heard, strict=False):
        wanted = samples[round(one.start * RATE) : round(one.end * RATE)]
        assert window.dtype == np.float32
        assert np.array_equal(window, wanted.astype(np.float32) / 32768)
    assert len(heard) == 6
