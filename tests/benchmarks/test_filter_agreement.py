"""How detections of two runtimes are held against each other."""

from pathlib import Path

import pytest

from benchmarks.filter_agreement import agreement, compared, dequantised, real_frames
from stages.models.detector import Detection

CAR = Detection("car", 0.8, (10.0, 20.0, 110.0, 80.0))


def moved(detection: Detection, by: float = 0.0, surer: float = 0.0, name: str = "") -> Detection:
    x1, *rest = detection.box
    box = (x1 + by, *rest)
    return Detection(name or detection.name, detection.confidence + surer, box)


@pytest.mark.parametrize(
    ("other", "alike", "rounded"),
    [
        (moved(CAR), 1, 0),
        (moved(CAR, by=0.0001, surer=0.000001), 1, 0),
        (moved(CAR, by=0.9, surer=-0.009), 1, 1),
        (moved(CAR, by=1.1), 0, 1),
        (moved(CAR, surer=0.011), 0, 1),
        (moved(CAR, name="bus"), 0, 1),
        (None, 0, 1),
    ],
)
def test_detections_are_alike_within_a_pixel_and_a_hundredth(
    other: Detection | None, alike: int, rounded: int
) -> None:
    found = compared([[CAR], []], [[other] if other is not None else [], []])
    assert found["by torch"] == 1
    assert found["by it"] == (other is not None)
    assert found["found alike"] == alike
    assert found["frames whose written detections differ"] == rounded


def test_each_detection_is_held_against_one_alone() -> None:
    found = compared([[CAR, moved(CAR, by=0.5)]], [[moved(CAR, by=0.25)]])
    assert (found["by torch"], found["by it"], found["found alike"]) == (2, 1, 1)
    assert found["edges apart at most, pixels"] == 0.25


@pytest.mark.slow
def test_in_real_frames_runtimes_find_what_torch_finds(data: Path, tmp_path: Path) -> None:
    for package in ("onnx", "openvino"):
        pytest.importorskip(package, reason=f"needs {package}, which the project does without")
    weights = dequantised(data / "models" / "yolo11n_int8_droneeye.onnx", tmp_path / "11n.pt")
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("intel_people-detection.gif", "intel_bottle-detection.mp4"):
        (clips / name).symlink_to(data / "video" / name)
    frames = real_frames(clips, 4.0)
    (detections, times), targets = agreement(weights, ("onnx", "openvino"), frames, 1)
    assert min(row.figures["by torch"].median for row in detections.rows) > 5
    assert [row.name for row in times.rows] == ["onnx", "openvino"]
    alike = [target for target in targets if "find alike" in target.what]
    assert [target.value.median for target in alike] == [1.0, 1.0]
