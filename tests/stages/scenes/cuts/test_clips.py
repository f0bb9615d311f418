"""Clips of scenes, through a whole run."""

import json
from pathlib import Path

import av
import pytest

from engine import Permanent
from stages.scenes.record import SceneRecord
from tests.stages.scenes.test_pipeline import lines, run, with_sound
from tests.stages.scenes.test_scenes import clip as silent_clip


def duration(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)) / 25


@pytest.mark.parametrize(
    ("asked", "form"), [("true", "copy"), ("copy", "copy"), ("exact", "exact")]
)
def test_each_scene_is_a_file_where_that_is_asked_for(tmp_path, asked, form):
    video = with_sound(tmp_path / "talk.mp4", begins=0.0, ends=6.0)
    work = tmp_path / "work"
    run(work, video, clips=asked)

    found = lines(work / "scenes" / "scenes.jsonl")
    assert [(one["start"], one["end"]) for one in found] == [(0, 2), (2, 6)]
    for one in found:
        SceneRecord.model_validate(one)
        clip = one["clip"]
        assert clip["form"] == form
        assert clip["start"] <= one["start"]
        assert clip["end"] >= one["end"]
        if form == "exact":
            assert (clip["start"], clip["end"]) == (one["start"], one["end"])
        file = work / "scenes" / clip["file"]
        assert duration(file) == pytest.approx(clip["end"] - clip["start"], abs=0.05)
        with av.open(str(file)) as container:
            assert container.streams.audio


def test_clips_that_are_asked_for_later_redo_nothing_else(tmp_path):
    video = with_sound(tmp_path / "talk.mp4", begins=0.0, ends=6.0)
    work = tmp_path / "work"
    run(work, video)
    [item] = (work / "items").iterdir()
    others = [*item.glob("scenes.parts/*/fuse/record.json"), *item.glob("scenes/scenes.json")]
    before = {path: path.stat().st_mtime_ns for path in others}
    assert len(before) == 3
    assert not list(item.rglob("clip.json"))

    run(work, video, clips="true")
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert all(one["clip"] for one in lines(work / "scenes" / "scenes.jsonl"))

    run(work, video)
    assert [one["clip"] for one in lines(work / "scenes" / "scenes.jsonl")] == [None, None]
    assert not list((work / "scenes").rglob("clip.*"))


def test_a_clip_that_fails_is_a_stated_gap(tmp_path, monkeypatch):
    video = silent_clip(tmp_path / "silent.mp4", 100, (50,))
    work = tmp_path / "work"

    def broken(path, start, *_, **__):
        raise Permanent("no clip today", kind="damaged")

    monkeypatch.setattr("stages.scenes.cuts.clips.copy_stretch", broken)
    report = run(work, video, clips="true")
    assert report.items["done"] == 1
    for one in lines(work / "scenes" / "scenes.jsonl"):
        assert one["clip"] is None
        [gap] = one["gaps"]
        assert (gap["branch"], gap["why"]) == ("clip", "no clip today")
        SceneRecord.model_validate(json.loads(json.dumps(one)))
