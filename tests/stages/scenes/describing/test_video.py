"""Scenes that a model watches: each one's stretch of the video is sent, and that alone counts."""

import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import pytest

from engine import ConfigError, RunReport, load_config, run_pipeline
from stages.scenes.describing import scene_clip
from stages.scenes.pipeline import scenes
from tests.stages.scenes.describing.words import asks_about_scene, data_of, says
from tests.stages.scenes.test_pipeline import SETS, lines, with_sound
from tests.stages.vision_server import Request, VisionServer, serving

FRAMES = 25


def watching(server: VisionServer) -> list[str]:
    told = {"backend": "gemini", "base_url": f"{server.origin}/v1beta", "model": "eye"}
    told |= {"send": "video", "fps": 3}
    return [f"stages.describe_scenes.{name}={value}" for name, value in told.items()]


def run(work: Path, server: VisionServer, film: Path, flags: Mapping[str, Any] = {}) -> RunReport:
    config = load_config(scenes, None, {}, [*SETS, *watching(server)], flags)
    return run_pipeline(scenes, config, work, [str(film)])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a cut at second 2, which is no keyframe of the whole file's but its own."""
    return with_sound(tmp_path_factory.mktemp("films") / "film.mp4", begins=0, ends=6)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched") / "work"


@pytest.fixture(scope="module")
def sent(work: Path, film: Path) -> Iterator[list[Request]]:
    """What a dry run said, then what a run sent, and a second one."""
    flag = next(flag for flag in scenes.flags if flag.name == "--dry-run")
    with serving(says=says) as server:
        told = "\n".join(run(work, server, film, flag.sets).finish)
        assert "describe_scenes would make 2 calls with 2 clips of 0.1 minutes of video to" in told
        assert server.requests == []
        assert run(work, server, film).items["done"] == 1
        assert run(work, server, film).items["reused"] == 1
        yield [one for one in server.requests if asks_about_scene(one)]


def test_each_scene_is_sent_as_its_stretch_of_the_video(sent: list[Request], work: Path) -> None:
    found = lines(work / "scenes" / "scenes.jsonl")
    assert [one["made_by"]["description"] for one in found] == ["gemini:eye from video"] * 2
    assert len(sent) == len(found) == 2
    for request, scene in zip(
        sorted(sent, key=lambda one: data_of(one)["start"]), found, strict=True
    ):
        [content] = request.body["contents"]
        watched, text = content["parts"]
        assert watched["inline_data"]["mime_type"] == "video/mp4"
        assert "<data>" in text["text"]
        assert "pictures_at" not in data_of(request)
        [clip] = request.images
        meant = watched["video_metadata"]
        assert meant["fps"] == 3
        since, until = (
            float(meant[name].removesuffix("s")) for name in ("start_offset", "end_offset")
        )
        assert until - since == pytest.approx(scene["end"] - scene["start"], abs=0.002)
        with av.open(io.BytesIO(clip)) as opened:
            assert [stream.type for stream in opened.streams] == ["video", "audio"]
            times = [float(frame.time or 0) for frame in opened.decode(video=0)]
        own = [time for time in times if since - 0.001 <= time < until - 0.001]
        assert len(own) == scene["after_frame"] - scene["first_frame"]


def test_what_is_before_the_scene_comes_along_and_is_not_meant(tmp_path: Path, film: Path) -> None:
    clip = scene_clip.clip_of_scene(film, 1.0, 1.6, 2.0, tmp_path)
    assert (clip.start, clip.end, clip.mime) == (1.0, pytest.approx(1.6), "video/mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_is_too_large_goes_as_frames_and_that_is_said_once(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scene_clip, "MOST_BYTES", 1000)
    with serving(says=says) as server, caplog.at_level(logging.WARNING):
        assert run(tmp_path / "work", server, film).items["done"] == 1
        asked = [one for one in server.requests if asks_about_scene(one)]
    assert all(image.startswith(b"\xff\xd8") for one in asked for image in one.images)
    assert all("pictures_at" in data_of(one) for one in asked)
    [line] = [one.getMessage() for one in caplog.records if "frames" in one.getMessage()]
    assert "as frames, as others like it: it has" in line
    assert "\n" not in line
    found = lines(tmp_path / "work" / "scenes" / "scenes.jsonl")
    assert [one["made_by"]["description"] for one in found] == ["gemini:eye"] * 2


def test_only_gemini_watches_video() -> None:
    sets = ["stages.describe_scenes.backend=openai", "stages.describe_scenes.send=video"]
    with pytest.raises(ConfigError, match='send = "video" takes backend = "gemini"'):
        load_config(scenes, None, {}, sets, {})
