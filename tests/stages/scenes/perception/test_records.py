"""What models saw and heard of a video, as its records state it: one run with all of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import load_config, run_pipeline
from stages.scenes.pipeline import scenes
from stages.scenes.record import SceneRecord
from tests.stages.scenes.perception.footage import (
    CAPTIONER,
    TAGGER,
    WITH_OBJECTS,
    heard,
    shapes_video,
)
from tests.stages.scenes.test_pipeline import QUICK, lines

WITH_MODELS = [
    "stages.transcribe.backend=off",
    *(f"stages.objects.{key}={json.dumps(value)}" for key, value in WITH_OBJECTS.items()),
    f"stages.captions.model={CAPTIONER}",
    "stages.captions.device=cpu",
    f"stages.sounds.model={TAGGER}",
    "stages.sounds.device=cpu",
    "stages.sounds.window=2",
    "stages.sounds.hop=1",
]


def run(work: Path, video: Path, *sets: str) -> Any:
    config = load_config(scenes, None, {}, [*QUICK, *WITH_MODELS, *sets], {})
    return run_pipeline(scenes, config, work, [str(video)])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("perception")
    report = run(folder / "work", shapes_video(folder / "a.mp4", heard))
    assert report.items["done"] == 1
    assert not report.discrepancies
    return folder / "work"


@pytest.fixture
def records(work: Path) -> list[dict[str, Any]]:
    return lines(work / "scenes" / "scenes.jsonl")


def test_each_scene_says_which_objects_are_in_it(records: list[dict[str, Any]]) -> None:
    first, second = records
    assert [(one["start"], one["end"]) for one in records] == [(0, 2), (2, 5)]
    assert first["objects"] == [
        {"class": kind, "ids": 1, "most_at_once": 1, "first_seen": 0.1, "last_seen": 1.8}
        for kind in ("circle", "triangle")
    ]
    assert second["objects"] == [
        {"class": "square", "ids": 2, "most_at_once": 2, "first_seen": 2.1, "last_seen": 4.8}
    ]
    assert first["made_by"]["objects"] == "shapes.pt, bytetrack"


def test_each_sample_frame_has_its_caption(records: list[dict[str, Any]]) -> None:
    first, second = records
    assert [one["text"] for one in first["captions"]] == [
        "a red circle left of a blue triangle"
    ] * 3
    assert "a blue square left of a green square" in [one["text"] for one in second["captions"]]
    for record in records:
        times = [frame["timestamp"] for frame in record["frames"]]
        assert [one["timestamp"] for one in record["captions"]] == times
        assert record["made_by"]["captions"] == "captioner"
        SceneRecord.model_validate(record)


def test_each_scene_says_what_is_heard_in_it(records: list[dict[str, Any]]) -> None:
    first, second = ({tag["label"]: tag["score"] for tag in one["sounds"]} for one in records)
    assert max(first, key=first.__getitem__) == "Tone"
    assert max(second, key=second.__getitem__) == "Noise"
    assert records[0]["made_by"]["sounds"] == "tagger"
    assert records[0]["speech_without_words"] is None, "there is no transcript to tell it by"


def test_another_tagger_redoes_neither_captions_nor_objects(work: Path, tmp_path: Path) -> None:
    copy = tmp_path / "work"
    shutil.copytree(work, copy, symlinks=True)
    video = work.parent / "a.mp4"
    before = {path: path.stat().st_ino for path in copy.rglob("objects.json")}
    before |= {path: path.stat().st_ino for path in copy.rglob("captions.json")}
    assert len(before) == 4
    report = run(copy, video, "stages.sounds.threshold=0.9")
    assert report.items["done"] == 1
    assert {path: path.stat().st_ino for path in before} == before


def test_a_branch_that_fails_leaves_a_gap_that_says_why(work: Path, tmp_path: Path) -> None:
    """And one that is switched off leaves none."""
    sets = ["stages.objects.timeout=0.001", "stages.objects.attempts=1"]
    off = ['stages.captions.model=""', 'stages.sounds.model=""']
    report = run(tmp_path / "work", work.parent / "a.mp4", *sets, *off)
    assert report.items["done"] == 1
    for record in lines(tmp_path / "work" / "scenes" / "scenes.jsonl"):
        assert record["objects"] is None
        [gap] = record["gaps"]
        assert gap["branch"] == "objects"
        assert gap["why"] == "gave up after 0.001 seconds"
