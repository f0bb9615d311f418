"""Playlists, feeds and pages with several videos, through the real stage and server."""

import dataclasses
import tempfile
from pathlib import Path

import pytest

from engine import Item, Permanent, Transient
from engine.ledger.outputs.folders import open_scratch
from stages.demo.server import BareStatus, File, MediaServer, feed, page
from stages.fetch import playlists
from stages.fetch.info_file import write_info
from stages.fetch.probe import Media
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
        MediaServer({"/feed": BareStatus(500)}) as server,
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
        assert list(temporary.iterdir()) == []
        produced.close()
    assert list(temporary.iterdir()) == []
    assert not (out / "playlist.json").exists()
    assert cookies.read_bytes() == before


def test_lists_in_lists_are_read_to_a_depth(tmp_path: Path) -> None:
    """Calendars and paginations lead from each page to a next one, without end."""
    with MediaServer() as server, opened(tmp_path, max_depth=2) as stage:
        server.routes["/feed"] = feed([server.url("/feed?n=1"), server.url("/a.mp4")])
        item = Item.at(tmp_path, server.url("/feed"))
        for depth in (0, 1):
            deep = dataclasses.replace(item, depth=depth)
            assert len(list(stage.process(deep, open_scratch(deep, stage.name)))) == 2
        deep = dataclasses.replace(item, depth=2)
        with pytest.raises(Permanent, match="max_depth is 2") as caught:
            stage.process(deep, open_scratch(deep, stage.name))
        assert caught.value.kind == "too_deep"


def test_a_video_at_any_depth_is_fetched(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/a.mp4": File(clip)}) as server, opened(tmp_path, max_depth=1) as stage:
        item = dataclasses.replace(Item.at(tmp_path, server.url("/a.mp4")), depth=7)
        out = open_scratch(item, stage.name)
        assert stage.process(item, out) is None
        assert (out / "video.mp4").exists()


def test_a_list_without_end_is_left_at_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(playlists, "MOST_ITEMS", 3)
    with MediaServer() as server, opened(tmp_path) as stage:
        for count in (3, 4):
            server.routes["/feed"] = feed([server.url(f"/{number}.mp4") for number in range(count)])
            out, produced = attempt(stage, server.url("/feed"))
            assert len(list(produced)) == read(out, "playlist.json")["entries"] == 3
            assert ("the rest of it is left" in caplog.text) == (count == 4)


def test_what_a_page_says_of_itself_is_cut(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/a.mp4": File(clip)}) as server, opened(tmp_path) as stage:
        server.routes["/p"] = page(["/a.mp4"], "word " * 600_000)
        out, _ = attempt(stage, server.url("/p"))
        assert len(read(out)["title"]) == 1000
        assert read(out)["title"].endswith("…")
        server.routes["/feed"] = feed([server.url("/a.mp4")], "word " * 600_000)
        out, produced = attempt(stage, server.url("/feed"))
        assert len(list(produced)) == 1
        assert len(read(out, "playlist.json")["title"]) == 1000


def test_all_that_a_site_says_is_cut(tmp_path: Path) -> None:
    item = Item.at(tmp_path, "https://example.com/a")
    long = "x" * 1_000_000
    texts = ("title", "uploader", "upload_date", "license", "format", "extractor")
    info = dict.fromkeys(texts, long) | {"webpage_url": f"https://example.com/{long}"}
    for duration in (float("inf"), float("nan"), 10**400, "for ever", None):
        write_info(tmp_path, item, "a.mp4", Media(1, 1, None), info | {"duration": duration})
        written = read(tmp_path)
        assert [len(written[name]) for name in texts] == [1000] * 6
        assert (written["webpage_url"], written["duration"]) == (None, None)


def test_an_entry_with_an_address_of_megabytes_is_no_item(tmp_path: Path) -> None:
    with MediaServer() as server, opened(tmp_path) as stage:
        long = server.url("/" + "x" * 100_000)
        server.routes["/feed"] = feed([long, server.url("/a.mp4")])
        _, produced = attempt(stage, server.url("/feed"))
        assert [item.source for item in produced] == [server.url("/a.mp4")]
        with pytest.raises(Permanent, match="at most") as caught:
            attempt(stage, long)
        assert (caught.value.kind, len(caught.value.reason) < 300) == ("unsupported", True)
