"""Which videos the page lists, and the address of a moment of each."""

import pytest

from stages.scenes.page.catalogue import SceneSteps, moment_of, shown_videos
from tests.stages.scenes.page.films import context

STEPS = SceneSteps(scenes="collect", summary="summary", video="download")


@pytest.mark.parametrize(
    ("source", "page", "moment"),
    [
        ("https://www.youtube.com/watch?v=abcdefghijk", None, "https://www.youtube.com/watch?v=abcdefghijk&t="),
        ("https://youtu.be/abcdefghijk?t=5", None, "https://youtu.be/abcdefghijk?t="),
        ("https://cdn.example/v.mp4", "https://m.youtube.com/watch?v=a&t=9#x", "https://m.youtube.com/watch?v=a&t="),
        ("https://notyoutube.com/v", None, "https://notyoutube.com/v#t="),
        ("https://a.example/v.mp4#old", "https://a.example/", "https://a.example/v.mp4#t="),
        ("/films/a b#c.mp4", None, "file:///films/a%20b%23c.mp4#t="),
        ("/films/caf\udce9.mp4", None, "file:///films/caf%E9.mp4#t="),
        ("javascript:alert(1)", "javascript:alert(2)", None),
        ("ftp://a.example/v.mp4", "data:text/html,x", None),
        ("relative.mp4", None, None),
        ("https://[broken", None, "https://[broken#t="),
    ],
)  # fmt: skip
def test_a_moment_has_an_address(source, page, moment):
    assert moment_of(source, page) == moment


def test_videos_are_those_whose_scenes_are_known(folder):
    found = {video.item.id: video for video in shown_videos(context(folder.work), STEPS)}
    assert set(found) == {folder.talk, folder.silent}
    talk = found[folder.talk]
    assert (talk.title, talk.count, talk.length) == ("talk", 2, 6.0)
    assert talk.moment == f"{folder.file.as_uri()}#t="
    assert [record["index"] for record in talk.scenes(1)] == [1]
    assert [record["index"] for record in talk.scenes(0, 1)] == [0]
    file = talk.file()
    assert file is not None
    assert file.media_type == "video/mp4"
    assert file.path.resolve() == folder.file.resolve()


@pytest.mark.parametrize(
    "name",
    ["../collect/scenes.jsonl", "scenes/../../x.jpg", "/etc/passwd", "scenes/000000/../a.jpg",
     "scenes/000000/thumbnail.jpg\n", "info.json", "scenes/0/..jpg", ""],
)  # fmt: skip
def test_only_pictures_of_scenes_are_pictures(folder, name):
    [talk] = [v for v in shown_videos(context(folder.work), STEPS) if v.item.id == folder.talk]
    assert talk.picture(name) is None
    picture = talk.picture("scenes/000000/thumbnail.jpg")
    assert picture is not None
    assert picture.path.is_file()
