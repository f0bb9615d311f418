"""Scenes that a model watches: each one's stretch of the video is sent, and that alone counts."""

import io
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import pytest

from engine import ConfigError, RunReport, load_config, run_pipeline
from stages.scenes.describing import scene_clip
from stages.scenes.pipeline import scenes
from tests.stages.files_server import FilesServer, counted, holding_files
from tests.stages.scenes.describing.words import asks_about_scene, data_of, says
from tests.stages.scenes.test_pipeline import SETS, lines, with_sound
from tests.stages.vision_server import Answer, Request, VisionServer, problem, serving

FRAMES = 25


def watching(server: VisionServer | FilesServer) -> list[str]:
    told = {"backend": "gemini", "base_url": f"{server.origin}/v1beta", "model": "eye"}
    told |= {"send": "video", "fps": 3}
    return [f"stages.describe_scenes.{name}={value}" for name, value in told.items()]


def run(
    work: Path, server: VisionServer | FilesServer, film: Path, flags: Mapping[str, Any] = {}
) -> RunReport:
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


def test_a_clip_too_large_for_a_request_is_uploaded_and_its_answer_kept(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_clip, "MOST_BYTES", 1000)
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    flag = next(flag for flag in scenes.flags if flag.name == "--dry-run")
    work = tmp_path / "work"
    with holding_files(says, key="a-key") as server:
        [told] = [one for one in run(work, server, film, flag.sets).finish if "2 clips" in one]
        assert server.done == []
        assert run(work, server, film).items["done"] == 1
        uploaded = {"start": 2, "upload": 2, "get": 4, "delete": 2}
        assert counted(server.done) == uploaded | {"ask": 3}
        assert server.files == {}
        [size] = re.findall(r"([\d.]+) kB of that", told)
        assert 0 < 1000 * float(size) - sum(map(len, server.watched)) < 20_000
        server.done.clear()
        shutil.rmtree(next(work.glob("items/*")))
        (work / "penstock.db").unlink()
        assert run(work, server, film).items["done"] == 1
        assert server.done == [], "every answer is kept, and nothing is uploaded for it"
    for content in server.watched:
        with av.open(io.BytesIO(content)) as opened:
            assert [stream.type for stream in opened.streams] == ["video", "audio"]
    found = lines(work / "scenes" / "scenes.jsonl")
    assert [one["made_by"]["description"] for one in found] == ["gemini:eye from video"] * 2


def test_where_no_clip_is_taken_it_goes_as_frames_and_that_is_said_once(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scene_clip, "MOST_BYTES", 1000)
    with (
        serving(says=says, fault=without_files) as server,
        caplog.at_level(logging.WARNING),
    ):
        assert run(tmp_path / "work", server, film).items["done"] == 1
        asked = [one for one in server.requests if "contents" in one.body]
        asked = [one for one in asked if asks_about_scene(one)]
    assert all(image.startswith(b"\xff\xd8") for one in asked for image in one.images)
    assert all("pictures_at" in data_of(one) for one in asked)
    [line] = [one.getMessage() for one in caplog.records if "frames" in one.getMessage()]
    assert "as frames, as others like it: 127.0.0.1" in line
    assert "answered 404 to an upload" in line
    assert "\n" not in line
    found = lines(tmp_path / "work" / "scenes" / "scenes.jsonl")
    assert [one["made_by"]["description"] for one in found] == ["gemini:eye"] * 2


def without_files(number: int, request: Request) -> Answer | None:
    return problem(404) if "/upload/" in request.path else None


def test_only_gemini_watches_video() -> None:
    sets = ["stages.describe_scenes.backend=openai", "stages.describe_scenes.send=video"]
    with pytest.raises(ConfigError, match='send = "video" takes backend = "gemini"'):
        load_config(scenes, None, {}, sets, {})
