"""The videos of lessons, each as soon as it has ended; and all of them anew at a run's end."""

import json
from pathlib import Path

import pytest

from stages.lesson.films import FILES
from stages.lesson.pipeline import lesson
from tests.stages.results import Finished, texts


class Lessons(Finished):
    def make(self, script: str, text: str = "1") -> str:
        facts = json.dumps({"text": text, "gaps": [], "sections": []})
        files = {name: facts if name.endswith(".json") else f"{name} {text}" for name in FILES}
        return self.put(f"file://{self.workdir / script}", "lesson", files)

    @property
    def videos(self) -> list[str]:
        return [name for name in texts(self.workdir / "videos") if name.endswith(".mp4")]


@pytest.fixture
def lessons(tmp_path: Path) -> Lessons:
    return Lessons(lesson, tmp_path)


def test_each_video_is_there_as_soon_as_it_has_ended(lessons: Lessons) -> None:
    for script in ("tides.json", "moon.json"):
        lessons.finish_item(lessons.make(script))
    one_by_one = texts(lessons.workdir / "videos")
    assert len(one_by_one) == 8
    lessons.finish()
    assert texts(lessons.workdir / "videos") == one_by_one
    lessons.finish_item(lessons.make("tides.json", "2"))
    changed = texts(lessons.workdir / "videos")
    assert changed["tides.mp4"] == "lesson.mp4 2"
    assert changed["moon.mp4"] == one_by_one["moon.mp4"]
    lessons.fail(item := lessons.make("tides.json"))
    for _ in range(2):
        lessons.finish_item(item)
        assert lessons.videos == ["moon.mp4"]


def test_a_dry_run_of_a_changed_script_leaves_its_video(lessons: Lessons) -> None:
    lessons.finish_item(lessons.make("moon.json"))
    lessons.finish_item(item := lessons.make("tides.json"))
    (lessons.records[item].folder / "lesson" / "lesson.mp4").unlink()
    lessons.finish_item(item)
    assert lessons.videos == ["moon.mp4", "tides.mp4"]


def test_scripts_of_one_name_take_nothing_from_each_other(lessons: Lessons) -> None:
    """A name that somebody was told stays; a finish of all is the same in any order."""
    first, second = (lessons.make(f"{folder}/tides.json") for folder in "ab")
    lessons.finish_item(second)
    assert lessons.videos == sorted(f"tides-{item[-6:]}.mp4" for item in (first, second))
    del lessons.records[first]
    lessons.finish()
    assert lessons.videos == ["tides.mp4"]
    first = lessons.make("a/tides.json")
    lessons.finish_item(first)
    lessons.finish_item(second)
    assert set(lessons.videos) == {f"tides-{first[-6:]}.mp4", "tides.mp4"}
    lessons.finish()
    for item in (first, second):
        lessons.finish_item(item)
    assert lessons.videos == sorted(f"tides-{item[-6:]}.mp4" for item in (first, second))


def test_the_videos_of_an_earlier_release_are_known(lessons: Lessons) -> None:
    """Its folder has no names: one that comes to it now takes nobody's."""
    old = lessons.make("a/tides.json")
    folder = lessons.workdir / "videos"
    folder.mkdir()
    (folder / "tides.mp4").write_text("the old one's")
    new = lessons.make("b/tides.json")
    lessons.finish_item(new)
    assert lessons.videos == sorted(f"tides-{item[-6:]}.mp4" for item in (old, new))
