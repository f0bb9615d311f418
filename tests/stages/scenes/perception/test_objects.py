"""The objects of scenes: what is counted, by which ids, and what becomes of missing models."""

import json
import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import Item, Permanent, Skip, UsageError
from engine.ledger.outputs.folders import open_scratch
from stages.models import detector as detectors
from stages.models.detector import Detection
from stages.scenes.perception.objects import Objects, middles
from stages.scenes.perception.tally import ObjectTally
from tests.stages.scenes.perception.footage import WITH_OBJECTS, shapes_video


def test_without_weights_there_are_no_objects(tmp_path: Path) -> None:
    stage = Objects(Objects.Settings(weights=""), tmp_path)
    assert stage.needs() == stage.find_ingredients(None) == {}
    stage.open()
    [ending] = stage.process_batch([Item.at(tmp_path, "a")], [tmp_path])
    assert isinstance(ending, Skip)
    stage.close()


def test_missing_weights_or_packages_are_named_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Objects(Objects.Settings(weights="missing/yolo.pt"), tmp_path)
    with pytest.raises(UsageError, match=r"yolo\.pt do not exist.*stages\.objects\.weights"):
        stage.find_ingredients(None)
    monkeypatch.setattr("stages.models.tracking.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'lap.*penstock\[scenes\].*stages\.objects\.weights = ""'):
        stage.find_ingredients(None)


@pytest.mark.parametrize(("device", "needs"), [("cpu", {}), ("cuda:1", {"cuda:1": 1})])
def test_it_needs_the_gpu_that_it_is_on(tmp_path: Path, device: str, needs: dict[str, int]) -> None:
    assert Objects(Objects.Settings(device=device), tmp_path).needs() == needs


def scene_of(path: Path, start: float, end: float) -> dict[str, Callable[[Path], object]]:
    def scene(folder: Path) -> None:
        (folder / "scene.json").write_text(json.dumps({"start": start, "end": end}))

    def download(folder: Path) -> None:
        (folder / path.name).symlink_to(path)
        (folder / "info.json").write_text(json.dumps({"file": path.name}))

    return {"scenes": scene, "download": download}


def look(stage: Objects, items: Sequence[Item]) -> list[dict[str, Any]]:
    inputs = {"scene": "scenes", "video": "download"}
    outs = [open_scratch(item, "objects") for item in items]
    endings = stage.process_batch([item.with_inputs(inputs) for item in items], outs)
    for ending in endings:
        if ending is not None:
            raise ending
    return [json.loads((out / "objects.json").read_text()) for out in outs]


def test_scenes_that_are_looked_at_together_say_what_each_says_alone(
    tmp_path: Path, make_item: Callable[..., Item]
) -> None:
    video = shapes_video(tmp_path / "a.mp4")
    items = [
        make_item(f"{start}", **scene_of(video, start, end)) for start, end in ((0, 2), (2, 5))
    ]
    stage = Objects(Objects.Settings(**WITH_OBJECTS), tmp_path)
    stage.open()
    try:
        together = look(stage, items)
        assert [found["frames"] for found in together] == [8, 12]
        assert together == [found for item in items for found in look(stage, [item])]
        missing = make_item("gone", **scene_of(tmp_path / "gone.mp4", 0, 2))
        with pytest.raises(Permanent, match="not there any more"):
            look(stage, [missing])
    finally:
        stage.close()


def test_where_a_gpu_has_no_room_for_one_frame_the_cpu_goes_on(
    tmp_path: Path,
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    item = make_item("a", **scene_of(shapes_video(tmp_path / "a.mp4"), 2, 5))
    stage = Objects(Objects.Settings(**WITH_OBJECTS | {"device": "auto"}), tmp_path)
    stage.open()
    full = stage.detector
    original = detectors.Detector.submit

    def submit(self: Any, images: Any) -> Any:
        if self is full:
            raise torch.cuda.OutOfMemoryError("no room")
        return original(self, images)

    monkeypatch.setattr(detectors.Detector, "submit", submit)
    try:
        with caplog.at_level(logging.WARNING, "penstock.objects"):
            [found] = look(stage, [item])
    finally:
        stage.close()
    assert found["objects"][0]["most_at_once"] == 2
    assert "the CPU goes on, more slowly" in caplog.text


def test_moments_keep_away_from_the_edges_of_a_scene() -> None:
    whole = middles(Fraction(2), Fraction(4), Fraction(4))
    assert (whole.first, whole.step, whole.end) == (Fraction(17, 8), Fraction(1, 4), 4)
    assert middles(Fraction(2), Fraction("2.1"), Fraction(4)).first == Fraction("2.05")


def test_what_has_no_id_is_counted_all_the_same() -> None:
    tally = ObjectTally(0.5)

    def seen(confidence: float) -> Detection:
        return Detection("cat", confidence, (0, 0, 9, 9))

    tally.see(Fraction(1), [seen(0.6), seen(0.7)], [None, 3])
    tally.see(Fraction(2), [seen(0.4)], [3])
    tally.see(Fraction(3), [seen(0.5)], [4])
    assert tally.lines() == [
        {"class": "cat", "ids": 2, "most_at_once": 2, "first_seen": 1.0, "last_seen": 3.0}
    ]
