"""`penstock scenes` on files: records, pictures, and what becomes of odd videos."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pydantic import ValidationError

from engine import load_config, run_pipeline
from stages.scenes.fuse import levels
from stages.scenes.pipeline import scenes
from stages.scenes.record import SceneRecord, schema
from tests.stages.clips import make_clip
from tests.stages.scenes.test_scenes import RATE, clip, scenery

WITHOUT_MODELS = [
    'stages.captions.model=""',
    'stages.objects.weights=""',
    'stages.sounds.model=""',
    "stages.transcribe.backend=off",
]
"""Switches off every step that needs a model."""

QUICK = ["stages.download.placement=thread", "limits.free_disk=0"]

SETS = [*QUICK, *WITHOUT_MODELS]


def with_sound(path: Path, *, begins: float, ends: float) -> Path:
    """A video of 6 s with a cut after 2 s, and a tone between those seconds."""
    pictures = scenery((50,))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for number in range(150):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pictures(number)), "rgb24")
            container.mux(video.encode(frame))
        for begin in np.arange(begins, ends, 0.02):
            at = begin + np.arange(960) / 48_000
            tone = (0.5 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
            heard.sample_rate, heard.time_base = 48_000, Fraction(1, 48_000)
            heard.pts = round(begin * 48_000)
            container.mux(sound.encode(heard))
        container.mux([*video.encode(), *sound.encode()])
    return path


def run(work: Path, *files: Path, **settings: Any) -> Any:
    sets = [*SETS, *(f"stages.scenes.{key}={value}" for key, value in settings.items())]
    config = load_config(scenes, None, {}, sets, {})
    return run_pipeline(scenes, config, work, [str(file) for file in files])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_scene_has_a_record_with_its_pictures_and_its_sound(tmp_path):
    video = with_sound(tmp_path / "talk.mp4", begins=2.0, ends=6.0)
    silent = clip(tmp_path / "silent.mp4", 60, ())
    work = tmp_path / "work"
    report = run(work, video, silent)

    assert report.items["done"] == 2
    assert not report.discrepancies
    found = lines(work / "scenes" / "scenes.jsonl")
    by_video = {one["title"]: one["video"] for one in lines(work / "scenes" / "videos.jsonl")}
    talk = [one for one in found if one["video"] == by_video["talk"]]
    assert [(one["index"], one["start"], one["end"]) for one in talk] == [(0, 0, 2), (1, 2, 6)]
    quiet, loud = (one["sound"] for one in talk)
    assert quiet["loudness"] is None or quiet["loudness"] < -30
    assert loud["loudness"] == pytest.approx(-9, abs=1), "a sine at half of full scale"
    assert -7 <= loud["peak"] <= 0, "an encoder overshoots where a tone begins"
    [other] = [one for one in found if one["video"] == by_video["silent"]]
    assert other["sound"] is None
    for one in found:
        SceneRecord.model_validate(one)
        for name in (one["thumbnail"], *(frame["file"] for frame in one["frames"])):
            assert (work / "scenes" / name).stat().st_size > 0
    assert json.loads((work / "scenes" / "scene.schema.json").read_text()) == schema()


def test_a_damaged_video_fails_alone_and_a_rerun_does_nothing_again(tmp_path):
    good = clip(tmp_path / "good.mp4", 60, ())
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    work = tmp_path / "work"
    report = run(work, good, bad)
    assert (report.items["done"], report.items["failed"]) == (1, 1)
    before = (work / "scenes" / "scenes.jsonl").read_bytes()

    again = run(work, good, bad)
    assert again.items["done"] == 1
    assert (work / "scenes" / "scenes.jsonl").read_bytes() == before


def test_another_setting_redoes_the_scenes_and_leaves_no_old_ones(tmp_path):
    video = with_sound(tmp_path / "talk.mp4", begins=0.0, ends=6.0)
    work = tmp_path / "work"
    run(work, video)
    assert len(lines(work / "scenes" / "scenes.jsonl")) == 2

    run(work, video, min_length=5)
    [only] = lines(work / "scenes" / "scenes.jsonl")
    assert (only["start"], only["end"]) == (0, 6)
    assert len(list((work / "items").glob("*/scenes.parts/*"))) == 1
    assert len(list((work / "scenes").glob("*/scenes/*"))) == 1


def test_frames_shown_twice_as_long_are_cut_by_their_times(tmp_path):
    times = [40 * number + (2000 if number >= 60 else 0) for number in range(120)]
    video = make_clip(
        tmp_path / "clip.mkv", times, size=(160, 96), rate=RATE, picture=scenery((60,))
    )
    work = tmp_path / "work"
    run(work, video)
    found = lines(work / "scenes" / "scenes.jsonl")
    assert [(one["start"], one["end"]) for one in found] == [(0, 4.4), (4.4, 6.8)]


def test_levels_are_in_decibels_below_full_scale():
    full = np.array([32767, -32768] * 100, np.int16)
    assert levels(full).loudness == pytest.approx(0, abs=0.01)
    assert levels(np.zeros(100, np.int16)).loudness is None
    assert levels(np.empty(0, np.int16)).peak is None


def test_a_record_with_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="mood"):
        SceneRecord.model_validate({"mood": "sad"})
