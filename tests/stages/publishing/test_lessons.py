"""A lesson is published as its film, its captions and its facts; a preview is not."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import load_config, run_pipeline
from stages.lesson.pipeline import lesson
from tests.stages.lesson.test_lesson import facts, write
from tests.stages.publishing.published import fetched, to, told_in

pytest.importorskip("obstore")


def run(work: Path, script: Path, *sets: str) -> Any:
    config = load_config(lesson, None, {}, ["limits.free_disk=0", *sets], {})
    return run_pipeline(lesson, config, work, [str(script)])


def test_a_lesson_is_there_with_its_film(s3, bucket, tmp_path):
    script = write(tmp_path / "script", {"title": "The sea", "seconds": 1})
    work, place = tmp_path / "work", to(bucket, s3)
    assert run(work, script, *place, "stages.voice.preview=true").exit_code == 0
    assert not [*work.glob("items/*/publish")]

    assert run(work, script, *place).exit_code == 0
    whole = fetched(told_in(work)["url"])
    assert whole["records"] == [facts(work)]
    assert whole["source"] is None
    assert set(whole["files"]) == {"lesson.mp4", "lesson.vtt", "poster.jpg"}
    film = httpx.get(whole["files"]["lesson.mp4"]["url"])
    assert film.content == (work / "videos" / "tides.mp4").read_bytes()
    assert film.headers["content-type"] == "video/mp4"
