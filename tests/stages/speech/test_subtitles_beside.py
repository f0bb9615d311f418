"""Subtitles in a file beside a video become its speech, through a whole run."""

import logging

from engine import load_config, run_pipeline
from stages.scenes.pipeline import scenes
from tests.stages.scenes.test_pipeline import SETS, lines
from tests.stages.scenes.test_scenes import clip

SRT = """1
00:00:00,500 --> 00:00:01,500
<i>Über</i> the cut

2
00:00:03,000 --> 00:00:04,000
we go.
"""


def run(work, *videos, **sets):
    told = [*SETS, *(f"stages.{key}={value}" for key, value in sets.items())]
    config = load_config(scenes, None, {}, [*told, "stages.chunks.prefer=subtitles"], {})
    return run_pipeline(scenes, config, work, [str(video) for video in videos])


def test_what_lies_beside_a_video_is_its_speech_and_a_bad_file_one_line(tmp_path, caplog):
    good, bad = (clip(tmp_path / f"{name}.mp4", 110, (50,)) for name in ("good", "bad"))
    good.with_suffix(".en.srt").write_bytes(SRT.encode("cp1252"))
    bad.with_suffix(".srt").write_bytes(b"<html>gone</html>")
    work = tmp_path / "work"
    with caplog.at_level(logging.WARNING):
        report = run(work, good, bad)

    assert report.items["done"] == 2
    videos = {one["title"]: one["video"] for one in lines(work / "scenes" / "videos.jsonl")}
    found = lines(work / "scenes" / "scenes.jsonl")
    first, second = (one for one in found if one["video"] == videos["good"])
    assert first["speech"]["text"] == "Über the cut"
    assert first["speech"]["language"] == "en"
    assert second["speech"]["text"] == "we go."
    assert second["speech"]["segments"][0]["start"] == 3.0
    assert second["made_by"]["speech"] == "subtitles:srt"
    assert [one["speech"] for one in found if one["video"] == videos["bad"]] == [None, None]
    [line] = [one.message for one in caplog.records if "cannot be used" in one.message]
    assert "bad.mp4" in line
    assert "no line with times" in line
