"""Downloading single videos, from a real server and from disk, through yt-dlp."""

import errno
import logging
import threading
from pathlib import Path

import pytest

from engine import Cancelled, Drop, Item, Permanent, Throttled, Transient
from engine.contract.stage import Cancellation
from stages.demo.server import (
    BareStatus,
    Exchange,
    File,
    FirstThen,
    MediaServer,
    Text,
    page,
    stream,
)
from tests.stages.attempts import attempting
from tests.stages.downloading import attempt, fetch, make_clip, opened, read

WHOLE = {"retries": 0, "fragment_retries": 0, "extractor_retries": 0}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", seconds=2, noise=True)


def test_a_video_is_fetched_whole_and_described(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/films/clip.mp4": File(clip)}) as server:
        source = server.url("/films/clip.mp4")
        out = fetch(tmp_path, source)
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()
    info = read(out)
    assert sorted(path.name for path in out.iterdir()) == ["info.json", "video.mp4"]
    assert info.pop("yt_dlp_version")
    assert info == {
        "id": info["id"],
        "source": source,
        "file": "video.mp4",
        "title": "clip",
        "uploader": None,
        "duration": 2.0,
        "upload_date": None,
        "webpage_url": source,
        "license": None,
        "format": "mp4 - unknown",
        "width": 64,
        "height": 48,
        "extractor": "generic",
    }


def test_a_password_is_used_and_not_written_down(tmp_path: Path, clip: Path) -> None:
    asked: list[str] = []

    def answer(exchange: Exchange) -> None:
        asked.append(f"{exchange.path} {exchange.headers['Authorization']}")
        File(clip)(exchange)

    with MediaServer({"/clip.mp4": answer}) as server, opened(tmp_path) as stage:
        address = f"{server.url('/clip.mp4')}?sig=f00d&v=1".replace("//", "//me:hunter2@")
        out, _ = attempt(stage, address)
        assert asked[0] == "/clip.mp4?sig=f00d&v=1 Basic bWU6aHVudGVyMg=="
        with pytest.raises(Permanent) as told:
            attempt(stage, address.replace("clip", "gone"))
    info = read(out)
    assert info["source"] == info["webpage_url"] == f"{server.url('/clip.mp4')}?v=1"
    assert told.value.reason.startswith(f"{server.url('/gone.mp4')}?v=1: is not there (404)")
    left = [path for path in (tmp_path / "items").rglob("*") if path.is_file()]
    for path in left:
        assert "hunter2" not in str(path)
        if path.stat().st_mode & 0o077:
            assert b"f00d" not in path.read_bytes()


def test_real_footage_arrives_byte_for_byte(tmp_path: Path, data: Path) -> None:
    names = ("mdn_friday.mp4", "androidx_sample.avi", "intel_asl_eat.mkv", "mdn_flower.webm")
    files = [data / "video" / name for name in names]
    with (
        MediaServer({f"/{file.name}": File(file) for file in files}) as server,
        opened(tmp_path) as stage,
    ):
        for file in files:
            out, _ = attempt(stage, server.url(f"/{file.name}"))
            assert (out / f"video{file.suffix}").read_bytes() == file.read_bytes()


def test_the_same_video_twice_gives_the_same_bytes(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/clip.mp4": File(clip)}) as server, opened(tmp_path) as stage:
        first, _ = attempt(stage, server.url("/clip.mp4"))
        second, _ = attempt(stage, server.url("/clip.mp4"))
    for name in ("info.json", "video.mp4"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_page_with_one_video_is_that_video(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/p": page(["/clip.mp4"], "A title"), "/clip.mp4": File(clip)}) as server:
        out = fetch(tmp_path, server.url("/p"))
    assert read(out)["title"].startswith("A title")
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


def make_segments(folder: Path) -> list[Path]:
    return [make_clip(folder / f"{n}.ts", width=64 + 64 * n, height=36 + 36 * n) for n in range(2)]


def test_a_stream_of_segments_becomes_one_file_without_ffmpeg(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.ts")
    routes = {
        "/v.m3u8": stream([("/0.ts", 1.0), ("/1.ts", 1.0)]),
        "/0.ts": File(part),
        "/1.ts": File(part),
    }
    with MediaServer(routes) as server:
        out = fetch(tmp_path, server.url("/v.m3u8"))
    assert (out / "video.mp4").read_bytes() == part.read_bytes() * 2


def test_a_stream_with_a_hole_is_not_a_finished_download(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.ts")
    routes = {"/v.m3u8": stream([("/0.ts", 1.0), ("/1.ts", 1.0)]), "/0.ts": File(part)}
    with MediaServer(routes) as server, pytest.raises(Permanent, match="a piece of it is not"):
        fetch(tmp_path, server.url("/v.m3u8"), options=WHOLE)


@pytest.mark.parametrize(("size", "fetched"), [(64, "small"), (80, "large"), (None, "large")])
def test_no_more_pixels_are_fetched_than_size_needs(
    tmp_path: Path, size: int | None, fetched: str
) -> None:
    small, large = make_segments(tmp_path)
    variants = (
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,RESOLUTION=64x36\n/small.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=9000,RESOLUTION=128x72\n/large.m3u8\n"
    )
    routes = {
        "/v.m3u8": Text(variants, "application/vnd.apple.mpegurl"),
        "/small.m3u8": stream([("/small.ts", 1.0)]),
        "/large.m3u8": stream([("/large.ts", 1.0)]),
        "/small.ts": File(small),
        "/large.ts": File(large),
    }
    with MediaServer(routes) as server:
        out = fetch(tmp_path, server.url("/v.m3u8"), size=size)
        asked = {request.path for request in server.requests if request.path.endswith(".ts")}
    assert asked == {f"/{fetched}.ts"}
    assert read(out)["width"] == (64 if fetched == "small" else 128)


def test_a_second_attempt_resumes_where_the_first_was_cut(tmp_path: Path, clip: Path) -> None:
    size = clip.stat().st_size
    route = FirstThen(File(clip, cut=0.5), 1, File(clip))
    with MediaServer({"/clip.mp4": route}) as server, opened(tmp_path, options=WHOLE) as stage:
        with pytest.raises(Transient, match=rf"expected {size} bytes"):
            attempt(stage, server.url("/clip.mp4"))
        out, _ = attempt(stage, server.url("/clip.mp4"))
        assert server.requests[-1].range == f"bytes={size // 2}-"
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


def test_a_cut_is_mended_within_the_attempt(tmp_path: Path, clip: Path) -> None:
    with MediaServer({"/clip.mp4": FirstThen(File(clip, cut=0.5), 1, File(clip))}) as server:
        out = fetch(tmp_path, server.url("/clip.mp4"), options={"retry_sleep_functions": {}})
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


def test_a_cancelled_attempt_stops_at_once_and_keeps_what_it_has(
    tmp_path: Path, clip: Path
) -> None:
    given_up = Cancellation()
    whole = clip.read_bytes()

    def half(exchange: Exchange) -> None:
        exchange.head(200, "video/mp4", len(whole))
        exchange.body(whole[: len(whole) // 2])
        while not list(tmp_path.glob("items/*/.download.partial/*.part")):
            exchange.server.media.stopping.wait(0.01)
        given_up.requested = True
        exchange.body(whole[len(whole) // 2 :], bytes_per_second=2000)

    routes = {"/clip.mp4": FirstThen(half, 1, File(clip))}
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        with attempting(given_up), pytest.raises(Cancelled):
            attempt(stage, server.url("/clip.mp4"))
        out, _ = attempt(stage, server.url("/clip.mp4"))
        assert server.requests[-1].range is not None
    assert (out / "video.mp4").read_bytes() == whole


def test_a_cancelled_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    given_up = Cancellation()
    part = make_clip(tmp_path / "part.ts")

    def last(exchange: Exchange) -> None:
        given_up.requested = True
        File(part)(exchange)

    routes = {
        "/v.m3u8": stream([("/0.ts", 1.0), ("/1.ts", 1.0)]),
        "/0.ts": File(part),
        "/1.ts": FirstThen(last, 1, File(part)),
    }
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        with attempting(given_up), pytest.raises(Cancelled):
            attempt(stage, server.url("/v.m3u8"))
        out, _ = attempt(stage, server.url("/v.m3u8"))
        assert len(server.asked("/0.ts")) == 1
    assert (out / "video.mp4").read_bytes() == part.read_bytes() * 2


def test_a_server_that_drips_while_the_page_is_read_cannot_hold_a_cancelled_attempt(
    tmp_path: Path,
) -> None:
    given_up = Cancellation()
    left = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.head(200, "text/html", 10_000_000)
        exchange.body(b"<html>" + b" " * 600)  # yt-dlp knows a page by its first 512 bytes
        given_up.requested = True
        try:
            for _ in range(10_000_000):
                exchange.body(b" ")
                exchange.server.media.stopping.wait(0.001)
        finally:
            left.set()

    with MediaServer({"/page": drip}) as server, opened(tmp_path) as stage:
        with attempting(given_up), pytest.raises(Cancelled):
            attempt(stage, server.url("/page"))
        assert left.wait(10)
        assert len(server.asked("/page")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk always full")
def test_a_full_disk_is_raised_as_itself(tmp_path: Path, clip: Path) -> None:
    route = FirstThen(File(clip, cut=0.5), 1, File(clip))
    with MediaServer({"/clip.mp4": route}) as server, opened(tmp_path, options=WHOLE) as stage:
        with pytest.raises(Transient):
            attempt(stage, server.url("/clip.mp4"))
        (part,) = (tmp_path / "items").glob("*/.download.partial/*.part")
        part.unlink()
        part.symlink_to("/dev/full")
        with pytest.raises(OSError, match="disk is full") as caught:
            attempt(stage, server.url("/clip.mp4"))
    assert caught.value.errno == errno.ENOSPC


def test_a_file_that_was_whole_but_for_its_name_is_fetched_again(
    tmp_path: Path, clip: Path
) -> None:
    """A kill between the last byte and the rename leaves that."""
    route = FirstThen(File(clip, cut=0.5), 1, File(clip))
    with MediaServer({"/clip.mp4": route}) as server, opened(tmp_path, options=WHOLE) as stage:
        with pytest.raises(Transient):
            attempt(stage, server.url("/clip.mp4"))
        (part,) = (tmp_path / "items").glob("*/.download.partial/*.part")
        part.write_bytes(clip.read_bytes())
        out, _ = attempt(stage, server.url("/clip.mp4"))
        refused = [asked for asked in server.asked("/clip.mp4") if asked.range is not None]
    assert refused[-1].range == f"bytes={clip.stat().st_size}-"
    assert (out / "video.mp4").read_bytes() == clip.read_bytes()


def test_media_that_is_refused_is_looked_up_afresh_once(tmp_path: Path, clip: Path) -> None:
    routes = {"/p": page(["/clip.mp4"]), "/clip.mp4": FirstThen(BareStatus(403), 1, File(clip))}
    with MediaServer(routes) as server:
        out = fetch(tmp_path, server.url("/p"))
        assert len(server.asked("/p")) == 2
    assert (out / "video.mp4").exists()
    routes["/clip.mp4"] = BareStatus(403)
    with MediaServer(routes) as server, pytest.raises(Throttled) as caught:
        fetch(tmp_path, server.url("/p"))
    assert caught.value.kind == "media_403"
    assert len(server.asked("/p")) == 2


def test_a_busy_server_is_obeyed(tmp_path: Path, clip: Path) -> None:
    routes = {"/clip.mp4": FirstThen(BareStatus(429, retry_after=90_000), 1, File(clip))}
    with MediaServer(routes) as server, opened(tmp_path) as stage:
        with pytest.raises(Throttled) as caught:
            attempt(stage, server.url("/clip.mp4"))
        out, _ = attempt(stage, server.url("/clip.mp4"))
    assert (caught.value.after, caught.value.key) == (3600.0, "127.0.0.1")
    assert (out / "video.mp4").exists()


def test_live_overlong_and_large_videos_are_dropped(tmp_path: Path, clip: Path) -> None:
    live = Text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/0.ts\n", "application/vnd.apple.mpegurl"
    )
    with MediaServer({"/live.m3u8": live, "/clip.mp4": File(clip)}) as server:
        with pytest.raises(Drop, match="is live") as caught:
            fetch(tmp_path, server.url("/live.m3u8"))
        assert caught.value.kind == "deferred"
        assert not server.asked("/0.ts")
        with pytest.raises(Drop, match=r"lasts 2 s, and .*max_duration is 1 s") as caught:
            fetch(tmp_path, server.url("/clip.mp4"), max_duration=1)
        assert caught.value.kind == "too_long"
        with pytest.raises(Drop, match="larger than") as caught:
            fetch(tmp_path / "other", server.url("/clip.mp4"), max_filesize=100)
        assert caught.value.kind == "too_large"


def test_failures_that_point_at_yt_dlp_are_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nothing_to_choose = {"format": "bv[height=1]"}
    clip = make_clip(tmp_path / "clip.mp4")
    with (
        MediaServer({"/clip.mp4": File(clip)}) as server,
        opened(tmp_path, options=nothing_to_choose) as stage,
        caplog.at_level(logging.ERROR, "penstock.download"),
    ):
        for count in range(1, 6):
            with pytest.raises(Permanent) as caught:
                attempt(stage, server.url("/clip.mp4"))
            assert caught.value.kind == "systemic"
            assert ("5 videos in a row" in caplog.text) == (count == 5)


def test_failures_of_pages_and_streams_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        MediaServer({"/a.m3u8": Text("", "application/x-mpegurl")}) as server,
        opened(tmp_path) as stage,
        caplog.at_level(logging.ERROR, "penstock.download"),
    ):
        for _ in range(6):
            with pytest.raises(Permanent) as caught:
                attempt(stage, server.url("/a.m3u8"))
            assert caught.value.kind == "unsupported"
    assert "in a row" not in caplog.text


def test_nothing_is_printed_and_no_home_folder_is_used(
    tmp_path: Path, clip: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    with MediaServer({"/clip.mp4": File(clip)}) as server:
        fetch(tmp_path, server.url("/clip.mp4"))
        with pytest.raises(Permanent):
            fetch(tmp_path, server.url("/missing.mp4"))
    assert capfd.readouterr() == ("", "")
    assert list(home.iterdir()) == []


def test_the_gate_is_the_host(tmp_path: Path) -> None:
    with opened(tmp_path) as stage:
        for source, gate in (
            ("https://WWW.Example.com/a", "example.com"),
            ("http://127.0.0.1:8000/a", "127.0.0.1"),
            ("/films/a.mp4", None),
            ("file:///films/a.mp4", None),
        ):
            assert stage.gate(Item.at(tmp_path, source)) == gate


def test_files_of_this_machine_can_be_refused(tmp_path: Path, clip: Path) -> None:
    with (
        MediaServer({"/clip.mp4": File(clip)}) as server,
        opened(tmp_path, local_files=False) as stage,
    ):
        for source in (str(clip), clip.as_uri(), "/no/such/file.mp4", "clip.mp4"):
            with pytest.raises(Permanent, match="--no-local is given") as caught:
                attempt(stage, source)
            assert caught.value.kind == "local_file"
        out, _ = attempt(stage, server.url("/clip.mp4"))
    assert (out / "video.mp4").exists()
