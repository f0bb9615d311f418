"""Playlists, feeds and pages with several videos, through the real stage and server."""

import tempfile
from pathlib import Path

import pytest

from engine import Permanent, Transient
from stages.demo.server import File, MediaServer, Status, feed, page
from tests.stages.downloading import attempt, make_clip, opened, read


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


def test_a_page_with_several_videos_becomes_an_item_for_each(tmp_path: Path, clip: Path) -> None:
    routes = {"/p": page(["/a.mp4", "/b.mp4"], "Two"), "/a.mp4": File(clip), "/b.mp4": File(clip)}
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        out, produced = attempt(stage, server.url("/p"))
        assert not (out / "playlist.json").exists()
        items = list(produced)
        assert [item.source for item in items] == [server.url("/a.mp4"), server.url("/b.mp4")]
        assert {item.folder.parent for item in items} == {tmp_path / "items"}
        assert read(out, "playlist.json") == {
            "title": "Two",
            "webpage_url": server.url("/p"),
            "extractor": "generic",
            "entries": 2,
        }
        assert not server.asked("/a.mp4")
        for item in items:
            child, nothing = attempt(stage, item.source)
            assert nothing is None
            assert (child / "video.mp4").exists()


def test_a_feed_is_read_lazily_while_the_worker_goes_on(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/a.mp4": File(clip)}) as server, opened(tmp_path) as stage:
        videos = [server.url(f"/{number}.mp4") for number in range(5)]
        server.routes["/feed"] = feed(videos, "Five")
        out, produced = attempt(stage, server.url("/feed"))
        first = next(produced)
        other, _ = attempt(stage, server.url("/a.mp4"))
        assert (other / "video.mp4").exists()
        assert [item.source for item in (first, *produced)] == videos
    assert read(out, "playlist.json")["entries"] == 5


def test_a_list_of_one_is_still_a_list(tmp_path: Path) -> None:
    with MediaServer() as server, opened(tmp_path) as stage:
        server.routes["/feed"] = feed([server.url("/only.mp4")])
        out, produced = attempt(stage, server.url("/feed"))
        assert [item.source for item in produced] == [server.url("/only.mp4")]
    assert read(out, "playlist.json")["entries"] == 1


def test_max_items_bounds_each_list(tmp_path: Path) -> None:
    with MediaServer() as server, opened(tmp_path, max_items=2) as stage:
        server.routes["/feed"] = feed([server.url(f"/{number}.mp4") for number in range(5)])
        _, produced = attempt(stage, server.url("/feed"))
        assert len(list(produced)) == 2


def test_a_remote_list_never_names_files_of_this_machine_or_itself(
    tmp_path: Path, clip: Path
) -> None:
    with MediaServer() as server, opened(tmp_path) as stage:
        named = [clip.as_uri(), str(clip), "ftp://example.com/a.mp4", server.url("/feed")]
        server.routes["/feed"] = feed([*named, server.url("/a.mp4?utm_source=feed#t=1")])
        _, produced = attempt(stage, server.url("/feed"))
        sources = [item.source for item in produced]
    # A path is one on the server that named it, as it is for a browser.
    assert sources == [server.url(str(clip)), server.url("/a.mp4")]


def test_a_child_at_a_private_address_fails_by_name(tmp_path: Path) -> None:
    with MediaServer() as server:
        server.routes["/feed"] = feed([server.url("/a.mp4")])
        with opened(tmp_path) as stage:
            (child,) = attempt(stage, server.url("/feed"))[1]
        with opened(tmp_path, allow_private=False) as stage, pytest.raises(Permanent) as caught:
            attempt(stage, child.source)
    assert caught.value.kind == "private_address"


def test_a_list_that_cannot_be_read_ends_like_a_video(tmp_path: Path) -> None:
    with (
        MediaServer({"/feed": Status(500)}) as server,
        opened(tmp_path) as stage,
        pytest.raises(Transient),
    ):
        attempt(stage, server.url("/feed"))


def test_a_list_left_half_read_leaves_no_copy_of_the_cookies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(
        "# Netscape HTTP Cookie File\n.example.com\tTRUE\t/\tFALSE\t0\tname\tvalue\n"
    )
    before = cookies.read_bytes()
    with (
        MediaServer() as server,
        opened(tmp_path / "work", cookies=cookies) as stage,
    ):
        server.routes["/feed"] = feed([server.url("/1.mp4"), server.url("/2.mp4")])
        out, produced = attempt(stage, server.url("/feed"))
        next(produced)
        assert len(list(temporary.iterdir())) == 2  # the list's, and the worker's next
        produced.close()
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
    assert not (out / "playlist.json").exists()
    assert cookies.read_bytes() == before
