"""Scenes are cut where PySceneDetect cuts the same file, and each has its pictures."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scenedetect
from PIL import Image

from engine import Parts, Permanent, UsageError
from engine.contract.parts import Positions
from engine.ledger.outputs.folders import open_scratch
from stages.scenes.cuts.detection import CutDetector
from stages.scenes.scenes import THUMBNAIL, Scenes
from tests.stages.clips import make_clip
from tests.stages.extracting import downloaded
from tests.stages.splitting import Collector

RATE = 25


def scenery(cuts: tuple[int, ...]) -> Callable[[int], np.ndarray]:
    """Pictures along which a camera moves, of other places from each of the cuts on."""

    def picture(number: int) -> np.ndarray:
        shot = sum(number >= cut for cut in cuts)
        coarse = np.random.default_rng(shot).integers(0, 256, (6, 20, 3), np.uint8)
        place = cv2.resize(coarse, (600, 96), interpolation=cv2.INTER_CUBIC)
        return place[:, number : number + 160]

    return picture


def clip(path: Path, length: int, cuts: tuple[int, ...], **options: Any) -> Path:
    return make_clip(
        path,
        range(length),
        time_base=Fraction(1, RATE),
        size=(160, 96),
        rate=RATE,
        picture=scenery(cuts),
        **options,
    )


@dataclass
class Cut:
    """What the stage wrote of a video: of the whole, and of each scene."""

    whole: dict[str, Any]
    folders: list[Path]

    @property
    def cuts(self) -> list[int]:
        return [scene["first_frame"] for scene in self.whole["scenes"]][1:]

    def scene(self, index: int) -> dict[str, Any]:
        return json.loads((self.folders[index] / "scene.json").read_text())


@pytest.fixture
def cut(make_item, tmp_path):
    def run(path: Path, standing: Positions | None = None, **settings: Any) -> Cut:
        item = make_item(str(path), download=downloaded(path))
        stage = Scenes(Scenes.Settings(**settings), workdir=tmp_path)
        stage.open()
        out = open_scratch(item, "scenes")
        collector = Collector(out.with_name(f"{out.name}-parts"))
        parts = Parts(collector, standing or Positions())
        stage.split(item.with_inputs({"video": "download"}), out, parts)
        whole = json.loads((out / "scenes.json").read_text())
        assert parts.position == len(whole["scenes"])
        return Cut(whole, [collector.folders[at] for at in sorted(collector.folders)])

    return run


def cuts_by_pyscenedetect(path: Path, detector: Any) -> list[int]:
    video = scenedetect.open_video(str(path), backend="pyav")
    manager = scenedetect.SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(video)
    return [begin.frame_num for begin, _ in manager.get_scene_list(start_in_scene=True)][1:]


@pytest.mark.parametrize(
    ("method", "detector"),
    [
        ("adaptive", scenedetect.AdaptiveDetector),
        ("content", scenedetect.ContentDetector),
        ("hash", scenedetect.HashDetector),
        ("histogram", scenedetect.HistogramDetector),
    ],
)
def test_cuts_are_those_of_pyscenedetect(cut, tmp_path, method, detector):
    path = clip(tmp_path / "clip.mp4", 200, (40, 75, 120))
    theirs = cuts_by_pyscenedetect(path, detector(min_scene_len=0.6))

    assert cut(path, method=method).cuts == theirs
    assert theirs == [40, 75, 120]


def test_fades_to_black_are_found_with_threshold(cut, tmp_path):
    def picture(number: int) -> np.ndarray:
        level = 0 if 60 <= number < 80 else 200
        return np.full((96, 160, 3), level, np.uint8)

    path = make_clip(
        tmp_path / "clip.mp4",
        range(150),
        time_base=Fraction(1, RATE),
        size=(160, 96),
        rate=RATE,
        picture=picture,
    )
    theirs = cuts_by_pyscenedetect(path, scenedetect.ThresholdDetector(min_scene_len=0.6))

    assert cut(path, method="threshold").cuts == theirs == [70]


def test_every_scene_has_its_times_samples_and_a_thumbnail(cut, tmp_path):
    made = cut(clip(tmp_path / "clip.mp4", 150, (50,)), frames=2)

    assert [(scene["start"], scene["end"]) for scene in made.whole["scenes"]] == [
        (0.0, 2.0),
        (2.0, 6.0),
    ]
    assert made.whole["frames"] == 150
    assert made.whole["duration"] == 6.0
    for index, scene in enumerate(made.whole["scenes"]):
        written = made.scene(index)
        frames = written.pop("frames")
        assert written == scene | {"method": "adaptive"}
        for frame, share in zip(frames, (0.25, 0.75), strict=True):
            part = (scene["end"] - scene["start"]) / 2
            place = scene["start"] + share * 2 * part
            assert frame["timestamp"] == pytest.approx(place, abs=part / 4 + 1 / RATE)
            assert frame["timestamp"] == pytest.approx(frame["frame"] / RATE)
            with Image.open(made.folders[index] / frame["file"]) as image:
                assert image.size == (frame["width"], frame["height"]) == (160, 96)
                shown = np.asarray(image).astype(int)
            expected = scenery((50,))(frame["frame"])
            assert abs(shown - expected).mean() < 12, "the very frame, by its pixels"
        with Image.open(made.folders[index] / "thumbnail.jpg") as image:
            assert max(image.size) <= THUMBNAIL


def test_a_video_without_a_cut_is_one_scene_or_several_of_the_greatest_length(cut, tmp_path):
    path = clip(tmp_path / "clip.mp4", 200, ())

    assert cut(path).cuts == []
    assert cut(path, max_length=3).cuts == [75, 150]
    assert cut(path, max_length=None).cuts == []


def test_a_scene_that_stands_is_not_made_again(cut, tmp_path):
    path = clip(tmp_path / "clip.mp4", 150, (50,))
    made = cut(path, standing=Positions([0]))

    assert made.cuts == [50]
    assert [json.loads((one / "scene.json").read_text())["index"] for one in made.folders] == [1]


def test_the_same_scenes_have_the_same_bytes(cut, tmp_path):
    path = clip(tmp_path / "clip.mp4", 150, (50, 90))

    def contents(made: Cut) -> list[bytes]:
        return [file.read_bytes() for one in made.folders for file in sorted(one.rglob("*.*"))]

    assert contents(cut(path)) == contents(cut(path))


def test_times_follow_the_frames_where_their_rate_varies(cut, tmp_path):
    times = [40 * number + (2000 if number >= 60 else 0) for number in range(120)]
    path = make_clip(
        tmp_path / "clip.mkv", times, size=(160, 96), rate=RATE, picture=scenery((60,))
    )
    [first, second] = cut(path).whole["scenes"]

    assert (first["end"], second["start"]) == (4.4, 4.4)
    assert second["end"] == pytest.approx(6.8, abs=0.01)


def test_a_file_without_a_picture_fails_with_the_reason(cut, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"")
    with pytest.raises(Permanent, match=r"video\.mp4 is empty") as failed:
        cut(path)
    assert failed.value.kind == "damaged"


def test_where_pyscenedetect_is_missing_the_command_to_install_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    stage = Scenes(Scenes.Settings(), workdir=tmp_path)
    for asked in (lambda: stage.find_ingredients(None), stage.open):
        with pytest.raises(UsageError, match=r"pip install 'penstock\[scenes\]'"):
            asked()


def test_a_picture_whose_size_changes_is_looked_at_in_its_first_size():
    detector = CutDetector("content", None, Fraction(0), Fraction(RATE))
    for number in range(10):
        size = (96, 160) if number < 5 else (480, 800)
        assert detector.cuts(Fraction(number, RATE), np.zeros((*size, 3), np.uint8)) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("moviepy_big_buck_bunny_0_30.webm", marks=pytest.mark.slow),
        pytest.param("intel_car-detection.mp4", marks=pytest.mark.slow),
        "mdn_friday.mp4",
    ],
)
def test_cuts_of_real_clips_are_those_of_pyscenedetect(cut, data, name):
    path = data / "video" / name
    theirs = cuts_by_pyscenedetect(path, scenedetect.AdaptiveDetector(min_scene_len=0.6))
    assert cut(path, max_length=None).cuts == theirs
